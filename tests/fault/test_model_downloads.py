"""Downloads of models over ways and from servers that break every rule there is."""

import errno
import shutil
from pathlib import Path

import pytest
from tests.model_cases import model, sha256
from tests.model_rig import ModelRig, assignment, by_url, content, model_rig

from skerry.node.hub_addresses import HubAddresses
from skerry.node.models.origins import HubAccess
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.file_server import FileServer, serve_files
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.models import ModelSource

EVERY = 300_000
DATA = content(1_000_000)


async def cut_all_the_way(tmp_path: Path, size: int) -> None:
    """The way is cut after every 300 kB; what came before each cut is not sent again."""
    data = content(size)
    async with (
        serve_files(FileServer({"/w": data})) as server,
        ChaosProxy("127.0.0.1", server.port) as proxy,
        model_rig(tmp_path) as rig,
    ):
        proxy.cut_every(EVERY, "down")
        spec = by_url(f"http://127.0.0.1:{proxy.port}/w", data)
        await rig.fetched(assignment("a", spec), seconds=600)
        assert proxy.accepted > size // EVERY
        assert proxy.forwarded["down"] <= size * 1.05
        assert rig.file(spec).read_bytes() == data


async def test_a_cut_at_every_300_kb_costs_at_most_5_percent(tmp_path: Path) -> None:
    await cut_all_the_way(tmp_path, 3_000_000)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_cut_at_every_300_kb_of_30_mb(tmp_path: Path) -> None:
    await cut_all_the_way(tmp_path, 30_000_000)


async def test_a_restart_goes_on_where_the_part_ends(tmp_path: Path) -> None:
    server = FileServer({"/w": DATA}, stop_after=400_000)
    async with serve_files(server):
        wanted = assignment("a", by_url(server.url("/w"), DATA))
        async with model_rig(tmp_path, clock=ManualClock()) as rig:
            rig.needs.want([wanted])
            await eventually(lambda: sum(rig.parts().values()) >= 400_000, "a part has come")
        came = sum(rig.parts().values())
        async with model_rig(tmp_path) as rig:
            await rig.fetched(wanted)
            assert server.requests[-1].headers["Range"] == f"bytes={came}-"
            assert server.requests[-1].headers["If-Range"].startswith('"')
            assert rig.parts() == {}


async def test_a_server_without_ranges_sends_all_of_it_again(tmp_path: Path) -> None:
    server = FileServer({"/w": DATA}, ranges=False, stop_after=400_000)
    async with serve_files(server), model_rig(tmp_path) as rig:
        spec = by_url(server.url("/w"), DATA)
        await rig.fetched(assignment("a", spec))
        assert rig.file(spec).read_bytes() == DATA


async def test_a_file_that_changes_midway_is_begun_anew(tmp_path: Path) -> None:
    server = FileServer({"/w": bytes(len(DATA))}, stop_after=400_000)
    async with serve_files(server), model_rig(tmp_path) as rig:
        spec = by_url(server.url("/w"), DATA)
        rig.needs.want([assignment("a", spec)])
        await eventually(lambda: sum(rig.parts().values()) >= 400_000, "a part has come")
        server.files["/w"] = DATA
        await rig.fetched(assignment("a", spec))
        assert rig.file(spec).read_bytes() == DATA


async def test_without_etags_the_hash_tells_that_the_file_has_changed(tmp_path: Path) -> None:
    clock = ManualClock()
    server = FileServer({"/w": bytes(len(DATA))}, etags=False, stop_after=400_000)
    async with serve_files(server), model_rig(tmp_path, clock=clock) as rig:
        spec = by_url(server.url("/w"), DATA)
        wanted = assignment("a", spec)
        rig.needs.want([wanted])
        await eventually(lambda: sum(rig.parts().values()) >= 400_000, "a part has come")
        server.files["/w"] = DATA
        await advance_until(clock, lambda: not rig.needs.missing(wanted))
        assert rig.file(spec).read_bytes() == DATA


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (FileServer({"/w": DATA + b"x"}), "has 1000001 bytes, the model says 1000000"),
        (FileServer({"/w": DATA + b"x"}, chunked=True), "more than the 1000000 bytes"),
        (FileServer({"/w": DATA}, told_length=10**12), "has 1000000000000 bytes"),
        (FileServer({"/w": DATA[:-1]}, chunked=True), "ended after 999999 of 1000000 bytes"),
        (FileServer({"/w": bytes(len(DATA))}), "its SHA-256 is"),
        (FileServer({}), "answered 404"),
        (FileServer({"/w": DATA}, status=503), "answered 503"),
        (FileServer({}, redirects={"/w": "/w"}), "redirects more than 5 times"),
        (FileServer({}, redirects={"/w": "file:///etc/passwd"}), "no http or https address"),
    ],
    ids=["longer", "longer-chunked", "lying-length", "shorter", "other", "404", "503", "circle", "file"],
)  # fmt: skip
async def test_what_is_wrong_is_said_and_tried_again_for_ever(
    tmp_path: Path, server: FileServer, words: str
) -> None:
    clock = ManualClock()
    async with serve_files(server), model_rig(tmp_path, clock=clock) as rig:
        spec = by_url(server.url("/w"), DATA)
        wanted = assignment("a", spec)
        rig.needs.want([wanted])
        await eventually(lambda: words in rig.needs.missing(wanted), f"it says {words}")
        assert "; next try at " in rig.needs.missing(wanted)
        assert sum(rig.parts().values()) <= len(DATA)
        server.files, server.chunked, server.told_length = {"/w": DATA}, False, None
        server.status, server.redirects = 200, {}
        await advance_until(clock, lambda: not rig.needs.missing(wanted))
        assert rig.file(spec).read_bytes() == DATA


async def advance_until(clock: ManualClock, condition: object) -> None:
    async def pushed() -> bool:
        clock.advance(60.0)
        return bool(condition())  # type: ignore[operator]

    await eventually(pushed, "it is fetched after all")


async def test_progress_is_told(tmp_path: Path) -> None:
    server = FileServer({"/w": DATA}, stop_after=500_000)
    async with serve_files(server), model_rig(tmp_path, clock=ManualClock()) as rig:
        wanted = assignment("a", by_url(server.url("/w"), DATA))
        rig.needs.want([wanted])
        assert rig.needs.missing(wanted) == "model yolo: 0 % of 1 MB fetched"
        await eventually(lambda: sum(rig.parts().values()) >= 500_000, "half of it has come")
        assert rig.needs.missing(wanted).startswith("model yolo: 5")


async def test_the_credentials_go_to_the_hub_alone(tmp_path: Path) -> None:
    data = {sha: content(1000, seed) for seed, sha in enumerate("ab")}
    async with (
        serve_files(FileServer({})) as hub,
        serve_files(FileServer({"/w": data["a"]})) as other,
        model_rig(tmp_path, hub=HubAccess(HubAddresses([hub.url("")]), "Bearer n.secret")) as rig,
    ):
        path = f"/sync/v1/blobs/{sha256(data['b'])}"
        hub.files[path] = data["b"]
        hub.redirects["/moved"] = other.url("/w")
        at_hub = model("b", data["b"])
        moved = model("a", data["a"], ModelSource(url=hub.url("/moved")))
        await rig.fetched(assignment("a", at_hub, moved))
        told = {each.path: each.headers.get("Authorization") for each in hub.requests}
        assert told == {path: "Bearer n.secret", "/moved": "Bearer n.secret"}
        assert [each.headers.get("Authorization") for each in other.requests] == [None]


async def test_a_hub_that_is_away_is_waited_for(tmp_path: Path) -> None:
    async with serve_files(FileServer({})) as hub, ChaosProxy("127.0.0.1", hub.port) as proxy:
        hub.files[f"/sync/v1/blobs/{sha256(DATA)}"] = DATA
        access = HubAccess(HubAddresses([f"http://127.0.0.1:{proxy.port}"]), "Bearer n.secret")
        async with model_rig(tmp_path, hub=access, clock=ManualClock()) as rig:
            proxy.refuse()
            wanted = assignment("a", model("yolo", DATA))
            rig.needs.want([wanted])
            await eventually(lambda: "no connection" in rig.needs.missing(wanted), "it says so")
            proxy.heal()
            rig.woken.ring()
            await eventually(lambda: not rig.needs.missing(wanted), "it comes with the link")


async def test_a_node_without_a_hub_says_so(tmp_path: Path) -> None:
    async with model_rig(tmp_path, clock=ManualClock()) as rig:
        wanted = assignment("a", model("yolo", DATA))
        rig.needs.want([wanted])
        await eventually(lambda: "this node has none" in rig.needs.missing(wanted), "it says so")


class SmallDisk(FaultyDisk):
    """Has so much room as it is told."""

    free = 10**12

    def free_bytes(self, path: Path) -> int:  # noqa: ARG002
        return self.free


async def test_a_disk_without_room_is_not_filled(tmp_path: Path) -> None:
    disk, clock = SmallDisk(), ManualClock()
    disk.free = 33_000_000
    async with (
        serve_files(FileServer({"/w": DATA})) as server,
        model_rig(tmp_path, disk=disk, clock=clock) as rig,
    ):
        wanted = assignment("a", by_url(server.url("/w"), DATA))
        rig.needs.want([wanted])
        await eventually(lambda: "to spare" in rig.needs.missing(wanted), "it says so")
        assert server.requests == []
        disk.free = 10**9
        await advance_until(clock, lambda: not rig.needs.missing(wanted))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_every_failing_operation_of_the_disk_is_survived(tmp_path: Path, code: int) -> None:
    data = content(100_000)
    async with serve_files(FileServer({"/w": data})) as server:
        spec = by_url(server.url("/w"), data)
        failing, done = 0, False
        while not done:
            failing += 1
            shutil.rmtree(tmp_path / "models", ignore_errors=True)
            disk, clock = FaultyDisk(failing, code=code), ManualClock()
            async with model_rig(tmp_path, disk=disk, clock=clock) as rig:
                wanted = assignment("a", spec)
                rig.needs.want([wanted])
                await advance_until(clock, lambda rig=rig, one=wanted: not rig.needs.missing(one))
                await checked(rig, wanted)
                assert rig.file(spec).read_bytes() == data
                done = disk.operations < failing
    assert failing > 8


async def checked(rig: ModelRig, wanted: object) -> None:
    """A start that meets the failing disk is repeated, as a unit repeats it."""

    async def checks() -> bool:
        try:
            await rig.needs.check(wanted)  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001 - Transient and OSError alike
            return False
        return True

    await eventually(checks, "the start is repeated")
