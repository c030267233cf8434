"""Files at the hub: taken from the node whose record names them, chunk by chunk, whole or not at all."""

import pytest
from sqlalchemy import delete
from tests.hub_files import manifest, node_with, record
from tests.hub_rig import DAY, HubRig, Lanes, batch
from tests.model_cases import content, sha256

from skerry.hub.files.arrivals import WINDOW, Arrivals
from skerry.hub.files.shelf import Wanted
from skerry.hub.store.tables import file
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.kit.sealing.format import MARK
from skerry.wire.files import FileManifest, FileRef, FileState, read_reference

DATA = content(700_000)
SHA = sha256(DATA)


async def send(hub: HubRig, node: str, data: bytes, *, most: int = WINDOW) -> int:
    """Sends what is asked for until it is complete; returns how many bytes that were."""
    sent, sha = 0, sha256(data)
    state = await hub.arrivals.offer(node, manifest(data))
    while not state.complete:
        piece = data[state.start : min(state.end, state.start + most)]
        assert piece
        sent += len(piece)
        state = await hub.arrivals.take(node, sha, state.start, piece)
    return sent


async def whole(hub: HubRig, data: bytes) -> bytes:
    sha = sha256(data)
    return b"".join([part async for part in hub.file_blobs.read(sha, 0, len(data))])


@pytest.mark.parametrize("most", [WINDOW, 65_537, 30_000])
async def test_a_file_arrives_however_it_is_cut(hub: HubRig, most: int) -> None:
    node = await node_with(hub, DATA)
    assert await hub.arrivals.state(node, SHA) == FileState(SHA, complete=False, manifest=True)
    assert await send(hub, node, DATA, most=most) == len(DATA)
    assert await whole(hub, DATA) == DATA
    [view] = (await hub.shelf.list(Wanted(), 10)).files
    assert (view.name, view.node, view.source, view.meta) == (
        "cam/a.bin",
        "n1",
        "sensors",
        {"lens": "wide"},
    )
    assert (view.size, view.arrived, view.complete) == (len(DATA), len(DATA), True)
    assert await hub.arrivals.held(node, [SHA, "0" * 64]) == [SHA]


async def test_nothing_at_all_is_a_file(hub: HubRig) -> None:
    node = await node_with(hub, b"")
    assert await send(hub, node, b"") == 0
    assert (await hub.shelf.content(sha256(b""))).complete


@pytest.mark.guarantee("G1")
async def test_a_file_whose_hash_begins_as_what_is_sealed(hub: HubRig) -> None:
    data = b"149185"
    assert sha256(data).startswith("e101")  # and its one chunk's, which the manifest begins with
    assert await send(hub, await node_with(hub, data), data) == len(data)


@pytest.mark.guarantee("G1")
async def test_what_a_cut_left_begins_as_what_is_sealed(hub: HubRig) -> None:
    data = MARK + DATA
    node = await node_with(hub, data)
    await hub.arrivals.offer(node, manifest(data))
    state = await hub.arrivals.take(node, sha256(data), 0, data[:5000])
    assert state.start == 5000
    assert await send(hub, node, data) == len(data) - 5000
    assert await whole(hub, data) == data


async def test_a_content_that_comes_again_while_it_is_forgotten_stays(
    hub: HubRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await node_with(hub, DATA)
    await send(hub, node, DATA)
    await hub.store.write(lambda c: c.execute(delete(file)))
    another = Arrivals(hub.store, hub.file_blobs, hub.clock)
    remove = hub.file_blobs.remove

    async def and_it_comes_again(sha: str) -> None:
        await remove(sha)
        hub.arrivals = another
        await record(hub, node, DATA, counter=2)
        await send(hub, node, DATA)

    monkeypatch.setattr(hub.file_blobs, "remove", and_it_comes_again)
    assert not await hub.arrivals.forget(SHA)
    assert await another.held(node, [SHA]) == [SHA]


async def test_the_same_file_again_costs_nothing(hub: HubRig) -> None:
    first, second = await node_with(hub, DATA), await node_with(hub, DATA, name="n2")
    await send(hub, first, DATA)
    assert await send(hub, second, DATA) == 0
    assert len((await hub.shelf.list(Wanted(sha256=SHA[:9]), 10)).files) == 2


async def test_what_another_file_has_is_not_sent(hub: HubRig) -> None:
    changed = DATA[:300_000] + b"something new" + DATA[300_000:]
    node = await node_with(hub, DATA, changed)
    await send(hub, node, DATA)
    assert await send(hub, node, changed) < 400_000
    assert await whole(hub, changed) == changed


async def test_a_chunk_that_is_not_where_it_was_is_sent(hub: HubRig) -> None:
    changed = DATA[:600_000] + b"something new"
    node = await node_with(hub, DATA, changed)
    await send(hub, node, DATA)
    await hub.file_blobs.remove(SHA)
    assert await send(hub, node, changed) == len(changed)
    assert await whole(hub, changed) == changed


async def test_a_flipped_byte_is_found_in_its_chunk(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    state = await hub.arrivals.offer(node, manifest(DATA))
    piece = bytearray(DATA[: state.end])
    piece[500_000] ^= 1
    with pytest.raises(InvalidInput, match="not what was said"):
        await hub.arrivals.take(node, SHA, 0, bytes(piece))
    state = await hub.arrivals.state(node, SHA)
    assert 200_000 < state.start <= 500_000
    await hub.arrivals.take(node, SHA, state.start, DATA[state.start : state.end])
    assert await whole(hub, DATA) == DATA


async def test_a_flipped_byte_in_what_a_cut_left(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    await hub.arrivals.offer(node, manifest(DATA))
    piece = bytearray(DATA[:10_000])
    piece[5] ^= 1
    assert (await hub.arrivals.take(node, SHA, 0, bytes(piece))).start == 10_000
    with pytest.raises(InvalidInput):
        await hub.arrivals.take(node, SHA, 10_000, DATA[10_000:])
    assert (await hub.arrivals.state(node, SHA)).start == 0
    assert await send(hub, node, DATA) == len(DATA)


async def test_bytes_from_elsewhere_change_nothing(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    await hub.arrivals.offer(node, manifest(DATA))
    for start in (5, 600_000):
        assert (await hub.arrivals.take(node, SHA, start, DATA[start:])).start == 0


async def test_right_chunks_of_a_wrong_whole_are_forgotten(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    other = DATA[1:] + b"x"
    lie = FileManifest(SHA, len(DATA), manifest(other).chunks)
    state = await hub.arrivals.offer(node, lie)
    with pytest.raises(InvalidInput):
        await hub.arrivals.take(node, SHA, 0, other[: state.end])
    assert (await hub.arrivals.state(node, SHA)).manifest
    assert await send(hub, node, DATA) == len(DATA)


@pytest.mark.guarantee("G9")
async def test_a_node_may_send_only_what_its_own_records_name(hub: HubRig) -> None:
    await node_with(hub, DATA)
    other = (await hub.enrol("n2")).node_id
    for call in (
        hub.arrivals.state(other, SHA),
        hub.arrivals.offer(other, manifest(DATA)),
        hub.arrivals.take(other, SHA, 0, DATA),
    ):
        with pytest.raises(NotFound, match="no record of this node"):
            await call
    assert await hub.arrivals.held(other, [SHA]) == []


async def test_sizes_must_agree(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    short = manifest(DATA).chunks[:-1]
    with pytest.raises(InvalidInput, match="its chunks have"):
        await hub.arrivals.offer(node, FileManifest(SHA, len(DATA), short))
    with pytest.raises(Refused, match="its record says"):
        await hub.arrivals.offer(node, FileManifest(SHA, 5, short))


async def test_a_restart_of_the_hub_goes_on(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    await hub.arrivals.offer(node, manifest(DATA))
    await hub.arrivals.take(node, SHA, 0, DATA[:444_444])
    again = HubRig(hub.url, hub.clock, hub.encryption)
    again.file_blobs = hub.file_blobs
    again.arrivals._blobs = hub.file_blobs
    hub.store.stop()
    again.store.start()
    state = await again.arrivals.state(node, SHA)
    assert state.start == 444_444
    state = await again.arrivals.take(node, SHA, state.start, DATA[state.start :])
    assert state.complete
    again.store.stop()
    hub.store.stop = lambda: None  # type: ignore[method-assign]


async def test_files_go_when_they_are_old_and_contents_with_the_last_of_them(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    await send(hub, node, DATA)
    hub.clock.advance(20 * DAY)
    await record(hub, node, DATA, counter=2)
    hub.clock.advance(11 * DAY)
    assert await hub.shelf.sweep(hub.clock.wall_ns()) == 0
    assert len((await hub.shelf.list(Wanted(), 10)).files) == 1
    hub.clock.advance(20 * DAY)
    assert await hub.shelf.sweep(hub.clock.wall_ns()) == 1
    assert await hub.file_blobs.size(SHA) is None
    with pytest.raises(NotFound):
        await hub.shelf.content(SHA)


async def test_a_record_that_arrives_twice_is_one_file(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    frame = batch(str(FileRef(SHA, len(DATA))), name="cam/a.bin", kind="file", lens="wide")
    await hub.push(node, Lanes("22" * 16).unit("event", [frame]))
    assert len((await hub.shelf.list(Wanted(), 10)).files) == 1


async def test_a_record_that_names_nothing_is_only_a_record(hub: HubRig) -> None:
    node = (await hub.enrol()).node_id
    await hub.push(node, Lanes().unit("event", [batch("rubbish", kind="file")]))
    assert (await hub.shelf.list(Wanted(), 10)).files == []
    assert len((await hub.query.records(kind="file")).rows) == 1


@pytest.mark.parametrize(
    "text", ["", "sha256:ab:1", f"sha256:{'a' * 64}", f"sha256:{'A' * 64}:1", 7]
)
def test_what_names_no_content(text: object) -> None:
    with pytest.raises(InvalidInput, match="sha256:HEX:SIZE"):
        read_reference(text)


async def test_filters(hub: HubRig) -> None:
    first, second = await node_with(hub, DATA), await node_with(hub, b"x", b"y", name="n2")
    del first, second
    count = {
        "n1": Wanted(node="n1"), "cam*": Wanted(name="cam*"), "none": Wanted(name="dog*"),
        "source": Wanted(source="other"), "time": Wanted(since=1_760_000_000_000_000_001),
    }  # fmt: skip
    found = {key: len((await hub.shelf.list(each, 10)).files) for key, each in count.items()}
    assert found == {"n1": 1, "cam*": 3, "none": 0, "source": 0, "time": 1}
    assert (await hub.shelf.list(Wanted(), 2)).truncated
    with pytest.raises(InvalidInput):
        await hub.shelf.list(Wanted(), 0)


@pytest.mark.guarantee("G1")
async def test_a_file_whose_bytes_the_hub_lost_is_not_held_and_comes_again(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    for way in ("asked", "offered"):
        await send(hub, node, DATA)
        await hub.file_blobs.remove(SHA)
        if way == "asked":
            assert await hub.arrivals.held(node, [SHA]) == []
            assert (await hub.arrivals.state(node, SHA)).manifest
        assert await send(hub, node, DATA) == len(DATA)
        assert await whole(hub, DATA) == DATA
        assert await hub.arrivals.held(node, [SHA]) == [SHA]
    await hub.file_blobs.remove(SHA)
    assert (await hub.arrivals.state(node, SHA)).manifest
    assert (await hub.arrivals.take(node, SHA, 0, DATA)).manifest


@pytest.mark.guarantee("G1")
async def test_a_file_whose_bytes_were_cut_at_the_hub_is_not_held_and_comes_again(
    hub: HubRig,
) -> None:
    node = await node_with(hub, DATA)
    for way in ("asked", "offered"):
        await send(hub, node, DATA)
        hub.file_blobs.cut(SHA, len(DATA) - 1)
        if way == "asked":
            assert await hub.arrivals.held(node, [SHA]) == []
        assert await send(hub, node, DATA) == len(DATA)
        assert await whole(hub, DATA) == DATA
        assert await hub.arrivals.held(node, [SHA]) == [SHA]


async def lie_of(hub: HubRig, *, size: int = len(DATA)) -> str:
    """Another node that knows the hash has said first what the content consists of."""
    liar = (await hub.enrol("liar")).node_id
    frame = batch(
        str(FileRef(SHA, size)), name="cam/lie.bin", kind="file", session="cd" * 16, at=2**62
    )
    await hub.push(liar, Lanes("33" * 16).unit("event", [frame]))
    chunks = manifest((b"x" + DATA)[:size]).chunks
    await hub.arrivals.offer(liar, FileManifest(SHA, size, chunks))
    return liar


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize("size", [10, len(DATA)])
async def test_what_another_node_says_of_a_content_does_not_keep_it_out(
    hub: HubRig, size: int
) -> None:
    node = await node_with(hub, DATA)
    await lie_of(hub, size=size)
    state = await hub.arrivals.offer(node, manifest(DATA))
    with pytest.raises(InvalidInput):
        await hub.arrivals.take(node, SHA, state.start, DATA[: state.end])
    assert await send(hub, node, DATA) == len(DATA)
    view = await hub.shelf.content(SHA)
    assert (view.name, view.size, view.arrived) == ("cam/lie.bin", len(DATA), len(DATA))


@pytest.mark.guarantee("G9")
async def test_wrong_bytes_of_another_node_do_not_set_an_upload_back(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    state = await hub.arrivals.offer(node, manifest(DATA))
    state = await hub.arrivals.take(node, SHA, 0, DATA[:500_000])
    liar = await lie_of(hub)
    wrong = b"x" * (len(DATA) - state.start)
    for _ in range(2):
        with pytest.raises(InvalidInput):
            await hub.arrivals.take(liar, SHA, (await hub.arrivals.state(node, SHA)).start, wrong)
    assert (await hub.arrivals.state(node, SHA)).start > 300_000
    hub.clock.advance(61)  # it has stopped
    with pytest.raises(InvalidInput):
        await hub.arrivals.take(liar, SHA, (await hub.arrivals.state(node, SHA)).start, wrong)
    assert (await hub.arrivals.state(node, SHA)).manifest


async def test_a_file_that_has_come_leaves_no_lock_in_memory(hub: HubRig) -> None:
    node = await node_with(hub, DATA)
    await send(hub, node, DATA)
    assert len(hub.arrivals._busy) == 0
