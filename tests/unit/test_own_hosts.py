"""A Host header means this machine or another one, however it is written."""

import pytest

from skerry.kit.own_hosts import is_own_host, own_hosts

OWN = own_hosts("Edge-1", "")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "localhost",
        "LocalHost:8000",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:8000",
        "edge-1",
        "localhost.",
    ],
)
def test_this_machine(header: str | None) -> None:
    assert is_own_host(header, OWN)


@pytest.mark.parametrize(
    "header",
    ["", "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]", "::1",
     "127.0.0.2", "localhost:x", "localhost:8000:1", "localhost evil", "evil@localhost", "\x00", "0"],
)  # fmt: skip
def test_another_one(header: str) -> None:
    assert not is_own_host(header, OWN)
