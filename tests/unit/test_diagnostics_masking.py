"""What a diagnostics bundle masks, beyond what workloads' logs do."""

from pathlib import Path

import pytest

from skerry.node.diagnostics.bundle import member_name
from skerry.node.diagnostics.masking import Scrubber, is_secret_name
from skerry.node.diagnostics.secrets import Spec, of_workloads, passwords_in
from skerry.wire.secrets import SecretUse

pytestmark = pytest.mark.guarantee("G10")

KEY = b"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nc4n4ry\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://me:pa55@proxy:3128", "http://***@proxy:3128"),
        ("http://me:p/a@5@proxy:3128/x", "http://***@proxy:3128/x"),
        ("https://token@registry/v2 and more", "https://***@registry/v2 and more"),
        ("https://host/way", "https://host/way"),
        ("https://host/img@sha256:ab", "https://host/img@sha256:ab"),
        ("password=hunter22 next", "password=*** next"),
        ("{registry: {username: me, password_file: /etc/pw}}",) * 2,
        ("it was opened-sesame today", "it was *** today"),
        ("b3BlbmVkLXNlc2FtZQ==", "***Q=="),
    ],
)
def test_what_is_masked_in_a_text(text: str, masked: str) -> None:
    assert Scrubber([b"opened-sesame"]).text(text) == masked


@pytest.mark.parametrize(
    "data", [b"a\n" + KEY + b"\nz\n", b"a\n" + KEY[:40], b"c4n4ry\n" + KEY[-30:] + b"\nz\n"]
)
def test_private_keys_are_masked_wherever_they_are_cut(data: bytes) -> None:
    masked = Scrubber().data(data)
    assert b"c4n4ry" not in masked
    assert b"MHc" not in masked
    assert masked.startswith((b"a\n", b"***"))
    assert not data.endswith(b"z\n") or masked.endswith(b"\nz\n")


def test_what_json_says_stays_json_and_its_numbers_stay() -> None:
    found = {
        "passphrase_waits": False, "token": "abc", "passwords": 3, "list": [{"secret": "x"}, "pwd: y2345678"], "password_file": "/x",
    }  # fmt: skip
    assert Scrubber().value(found) == {
        "passphrase_waits": False, "token": "***", "passwords": 3, "list": [{"secret": "***"}, "pwd: ***"], "password_file": "/x",
    }  # fmt: skip


def test_bytes_that_are_no_text_are_written_in_digits() -> None:
    assert Scrubber().text("a\udcffb") == "a\\xffb"


@pytest.mark.parametrize(
    ("name", "secret"),
    [("DB_PASSWORD", True), ("api-key", True), ("secrets_key", True), ("password_file", False), ("keys", False)],
)  # fmt: skip
def test_names_that_say_what_they_are(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_passwords_as_they_are_written_and_meant() -> None:
    urls = ["http://a:b%40cdefg@h", "http://a@h", "no@url", "http://[x@"]
    assert list(passwords_in(urls)) == ["b%40cdefg", "b@cdefg"]


def test_all_of_an_environment_is_kept_out_of_its_own_log_and_its_secrets_out_of_everything(
    tmp_path: Path,
) -> None:
    proc = tmp_path
    (proc / "7").mkdir()
    (proc / "7" / "environ").write_bytes(b"SKERRY_WORKLOAD=w\0MODE=tropical\0PATH=/usr/bin\0TOKEN=123456789\0")  # fmt: skip
    specs = {
        "w": Spec({"PLACE": "harbour", "N": "3"}),
        "v": Spec({"DB": "c4n4ry"}, [SecretUse(name="x", env="DB")]),
    }
    found = of_workloads(specs, proc)
    assert found["w"].log == {b"tropical", b"123456789", b"harbour"}
    assert found["w"].nowhere == {b"123456789"}
    assert found["v"].nowhere == {b"c4n4ry"}


@pytest.mark.parametrize(
    ("name", "member"),
    [("cam-1", "cam-1"), ("..", "%2E."), ("a/b", "a%2Fb"), ("x\ny", "x%0Ay"), ("\udcff", "%FF")],
)
def test_names_of_members(name: str, member: str) -> None:
    assert member_name(name) == member
