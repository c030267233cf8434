"""Pure decisions about models on the node: whom credentials are shown to, which models go, what a restart needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.model_cases import model
from tests.model_rig import assignment
from yarl import URL

from skerry.kit.errors import Refused
from skerry.node.hub_addresses import HubAddresses
from skerry.node.models.eviction import chosen, hashes, room_of
from skerry.node.models.layout import Entry
from skerry.node.models.origins import HubAccess, headers_for, parsed, redirected
from skerry.node.workloads.changes import needs_restart
from skerry.wire.models import ModelFile, ModelSource

HUB = HubAccess(HubAddresses(["https://hub.lan/skerry"]), "Bearer n.secret")
SHOWN = {"Authorization": "Bearer n.secret"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hub.lan/sync/v1/blobs/x", True),
        ("https://HUB.lan:443/x", True),
        ("http://hub.lan/x", False),
        ("https://hub.lan:444/x", False),
        ("https://hub.lan.evil.org/x", False),
        ("https://evil.org/https://hub.lan/x", False),
        ("https://hub.lan\\@evil.org/x", False),
        ("https://evil.org#https://hub.lan/", False),
        ("https://hub.land/x", False),
    ],
)
def test_credentials_are_for_the_hubs_origin(url: str, shown: bool) -> None:
    try:
        address = parsed(url)
    except Refused:
        assert not shown
        return
    assert headers_for(address, HUB) == (SHOWN if shown else {})
    assert headers_for(address, None) == {}


@pytest.mark.parametrize(
    "url", ["https://me@hub.lan/x", "ftp://hub.lan/x", "file:///etc/passwd", "x", "http://"]
)
def test_addresses_that_are_not_fetched(url: str) -> None:
    with pytest.raises(Refused):
        parsed(url)


def test_redirects() -> None:
    start = URL("https://hub.lan/a/b")
    assert redirected(start, "../c") == URL("https://hub.lan/c")
    assert headers_for(redirected(start, "//other.lan/c"), HUB) == {}
    for target in ("file:///etc/passwd", "https://hub.lan@evil.org/"):
        with pytest.raises(Refused):
            redirected(start, target)


def entry(name: str, used: int, *files: tuple[str, int]) -> Entry:
    listed = [ModelFile(sha, sha, size) for sha, size in files]
    return Entry(name, "", 0, "", "", "", "", "", listed, used)


entries = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(0, 9), st.lists(st.sampled_from("uvwxyz"), min_size=1, unique=True)),
).map(lambda found: {n: entry(n, at, *((f, 10) for f in fs)) for n, (at, fs) in found.items()})


@given(entries, st.sets(st.sampled_from("uvwxyz")), st.integers(0, 100))
def test_eviction(held: dict[str, Entry], needed: set[str], size: int) -> None:
    gone = chosen(held, needed, size)
    assert all(needed.isdisjoint(hashes(each.files)) for each in gone)
    assert [each.last_used_at for each in gone] == sorted(each.last_used_at for each in gone)
    kept = [each for each in held.values() if each not in gone]
    freed = room_of(held.values()) - room_of(kept)
    free = [each for each in held.values() if needed.isdisjoint(hashes(each.files))]
    assert freed >= size or len(gone) == len(free)
    if gone:
        without_last = room_of(held.values()) - room_of([*kept, gone[-1]])
        assert without_last < size


def test_only_other_content_restarts_a_workload() -> None:
    held = assignment("a", model("yolo", b"one"))
    moved = structs.replace(model("yolo", b"one"), source=ModelSource(url="http://x/w"))
    assert not needs_restart(held, assignment("a", moved, n=2))
    assert needs_restart(held, assignment("a", model("yolo", b"two"), n=2))
