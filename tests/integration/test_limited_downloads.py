"""Downloads over a limited link: in pieces that take turns, whatever the server can do."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.model_cases import content, model
from tests.model_rig import assignment, by_url, model_rig

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused
from skerry.kit.pace import Pace
from skerry.node.models.download import Download
from skerry.node.sync.connections import open_session
from skerry.testing.file_server import FileServer, serve_files
from skerry.wire.shared import Priority

PIECE = 10_000
BLOB = content(45_000)


class Counting:
    """Turns that make nobody wait."""

    piece = PIECE
    held = ""

    def __init__(self) -> None:
        self.asked: list[tuple[Priority, int]] = []
        self.moved = 0

    def of_lane(self, lane: str) -> Priority:
        raise AssertionError(lane)

    @contextlib.asynccontextmanager
    async def turn(self, priority: Priority, size: int) -> AsyncIterator["Counting"]:
        self.asked.append((priority, size))
        yield self

    def note(self, size: int) -> None:
        self.moved += size


async def fetched(server: FileServer, part: Path, turns: Counting, path: str = "/w") -> bytes:
    async with serve_files(server), open_session() as session:
        pace = Pace(None, SystemClock())
        download = Download(session, None, RealDisk(), pace, turns=turns)
        await download.fetch(server.url(path), model("w", BLOB).files[0], part, lambda _: None)
    return part.read_bytes()


@pytest.mark.parametrize(
    ("server", "requests"),
    [
        pytest.param(FileServer({"/w": BLOB}), 5, id="ranges"),
        pytest.param(FileServer({"/w": BLOB}, etags=False), 5, id="no versions"),
        pytest.param(FileServer({"/w": BLOB}, chunked=True), 5, id="no lengths"),
        pytest.param(FileServer({"/w": BLOB}, ranges=False), 1, id="no ranges"),
    ],
)
async def test_every_byte_is_counted_and_pieces_are_asked_for_where_that_works(
    tmp_path: Path, server: FileServer, requests: int
) -> None:
    turns = Counting()
    assert await fetched(server, tmp_path / "part", turns) == BLOB
    assert len(server.requests) == requests
    assert len(BLOB) <= turns.moved <= 1.2 * len(BLOB)
    assert {priority for priority, _ in turns.asked} == {"medium"}
    if server.ranges:
        assert max(size for _, size in turns.asked) < 1.2 * PIECE


async def test_pieces_follow_a_redirect_once(tmp_path: Path) -> None:
    server = FileServer({"/w": BLOB}, redirects={"/old": "/w"})
    assert await fetched(server, tmp_path / "part", Counting(), "/old") == BLOB
    assert [request.path for request in server.requests] == ["/old", *["/w"] * 5]


async def test_a_file_that_is_larger_than_was_said_is_refused_by_its_first_piece(
    tmp_path: Path,
) -> None:
    server = FileServer({"/w": BLOB + b"more"})
    with pytest.raises(Refused, match="it has 45004 bytes, the model says 45000"):
        await fetched(server, tmp_path / "part", Counting())
    assert len(server.requests) == 1


async def test_a_model_says_what_it_waits_for(tmp_path: Path) -> None:
    turns = Counting()
    turns.held = "the link is metered"
    server = FileServer({"/w": BLOB}, status=404)
    async with serve_files(server), model_rig(tmp_path, turns=turns) as rig:
        wanted = assignment("a", by_url(server.url("/w"), BLOB))
        rig.needs.want([wanted])
        assert rig.needs.missing(wanted).endswith(" fetched; waits: the link is metered")
