"""The node's model cache: layout, verification before each start, sharing, eviction, restarts."""

import asyncio
import os
import threading
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from tests.model_cases import content, model, sha256
from tests.model_rig import ModelRig, assignment, by_url, model_rig

from skerry.kit.disk import RealDisk
from skerry.kit.errors import Transient
from skerry.kit.pace import Pace
from skerry.node.hub_addresses import HubAddresses
from skerry.node.models.fetching import ModelNeeds
from skerry.node.models.layout import view_of
from skerry.node.models.on_demand import ModelsOnDemand
from skerry.node.models.origins import HubAccess
from skerry.testing.file_server import FileServer, serve_files
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.models import ModelFile, ModelSource, ModelSpec

DATA = content(200_000)


def flip(path: Path) -> None:
    """Another bit at the same place, with the same size and the same time."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def settled(rig: ModelRig) -> None:
    """Whatever is to be listed or removed has been."""
    await eventually(lambda: rig.needs._tidying is None or rig.needs._tidying.done(), "settled")


async def test_an_empty_cache_loads_nothing_that_looks_after_one(tmp_path: Path) -> None:
    built: list[ModelNeeds] = []
    async with model_rig(tmp_path) as rig:

        def build() -> ModelNeeds:
            built.append(rig.needs)
            return rig.needs

        models = ModelsOnDemand(rig.root, 10**9, build)
        models.want([])
        rig.root.mkdir()
        models.want([])
        assert not built
        (rig.root / ".fetching").mkdir()
        models.want([])
        assert built


async def test_what_a_workload_sees(tmp_path: Path) -> None:
    async with serve_files(FileServer({"/w": DATA})) as server, model_rig(tmp_path) as rig:
        spec = by_url(server.url("/w"), DATA)
        wanted = assignment("a", spec)
        await rig.fetched(wanted)
        view = await rig.started(wanted)
    assert {str(path.relative_to(view)) for path in view.rglob("*")} == {
        "manifest.json",
        "yolo",
        "yolo/metadata.json",
        "yolo/w.onnx",
    }
    assert (view / "yolo/w.onnx").read_bytes() == DATA
    assert (view / "yolo/w.onnx").stat().st_mode & 0o777 == 0o444
    assert view.stat().st_mode & 0o777 == 0o755
    manifest = msgspec.json.decode((view / "manifest.json").read_bytes())
    entry = manifest["yolo"]
    assert entry.keys() >= {
        "model_id", "local_path", "size_bytes", "downloaded_at", "source_url", "checksum_sha256", "runtime",
        "downloaded_from",
    }  # fmt: skip
    assert entry["local_path"] == str(view / "yolo/w.onnx")
    metadata = msgspec.json.decode((view / "yolo/metadata.json").read_bytes())
    assert metadata.keys() >= {
        "model_id", "runtime", "download_url", "checksum_sha256", "size_bytes", "filename", "downloaded_at",
        "downloaded_from", "source_url", "upstream_url",
    }  # fmt: skip
    assert (metadata["checksum_sha256"], metadata["size_bytes"]) == (sha256(DATA), len(DATA))
    assert metadata["downloaded_at"].endswith("Z")


async def test_the_cache_itself_has_the_same_layout(tmp_path: Path) -> None:
    async with serve_files(FileServer({"/w": DATA})) as server, model_rig(tmp_path) as rig:
        await rig.fetched(assignment("a", by_url(server.url("/w"), DATA)))
        await eventually((rig.root / "manifest.json").exists, "it is listed")
        manifest = msgspec.json.decode((rig.root / "manifest.json").read_bytes())
        assert Path(manifest["yolo"]["local_path"]).read_bytes() == DATA
        assert (rig.root / "yolo/metadata.json").exists()
        assert (rig.root / "yolo/w.onnx").samefile(rig.file(by_url("", DATA)))


async def test_a_flipped_byte_is_found_before_the_start_and_fetched_again(tmp_path: Path) -> None:
    async with serve_files(FileServer({"/w": DATA})) as server, model_rig(tmp_path) as rig:
        spec = by_url(server.url("/w"), DATA)
        wanted = assignment("a", spec)
        await rig.fetched(wanted)
        view = await rig.started(wanted)
        flip(view / "yolo/w.onnx")
        with pytest.raises(Transient, match="«w.onnx» is not what it was; it is fetched again"):
            await rig.needs.check(wanted)
        assert "0 % of" in rig.needs.missing(wanted)
        assert (await rig.started(wanted) / "yolo/w.onnx").read_bytes() == DATA
        assert len(server.requests) == 2


async def test_a_file_that_was_replaced_in_the_view_is_put_right(tmp_path: Path) -> None:
    async with serve_files(FileServer({"/w": DATA})) as server, model_rig(tmp_path) as rig:
        wanted = assignment("a", by_url(server.url("/w"), DATA))
        await rig.fetched(wanted)
        view = await rig.started(wanted)
        (view / "yolo/w.onnx").unlink()
        (view / "yolo/w.onnx").write_bytes(b"trojan")
        assert (await rig.started(wanted) / "yolo/w.onnx").read_bytes() == DATA
        assert len(server.requests) == 1


async def test_two_workloads_and_two_models_fetch_one_file_once(tmp_path: Path) -> None:
    async with serve_files(FileServer({"/w": DATA})) as server, model_rig(tmp_path) as rig:
        yolo = by_url(server.url("/w"), DATA)
        twin = structs.replace(yolo, name="twin")
        await rig.fetched(assignment("a", yolo), assignment("b", yolo), assignment("c", twin))
        views = [await rig.started(assignment("x", one)) for one in (yolo, twin)]
        assert len(server.requests) == 1
        assert (views[0] / "yolo/w.onnx").samefile(views[1] / "twin/w.onnx")


async def test_a_source_that_fails_does_not_hold_up_another_model_of_the_same_content(
    tmp_path: Path,
) -> None:
    async with serve_files(FileServer({"/w": DATA})) as server, model_rig(tmp_path) as rig:
        good = by_url(server.url("/w"), DATA)
        broken = structs.replace(by_url(server.url("/nope"), DATA), name="zz")
        await rig.fetched(assignment("a", good), assignment("b", broken, n=9))
        assert (await rig.started(assignment("x", good)) / "yolo/w.onnx").read_bytes() == DATA


async def test_old_files_stay_while_something_runs_from_them(tmp_path: Path) -> None:
    newer = content(100_000, 2)
    server = FileServer({"/w": DATA, "/n": newer})
    async with serve_files(server), model_rig(tmp_path) as rig:
        first = assignment("a", by_url(server.url("/w"), DATA))
        second = assignment("a", by_url(server.url("/n"), newer), n=2)
        await rig.fetched(first)
        old = await rig.started(first)
        rig.in_use.append(first)
        await rig.fetched(second)
        await settled(rig)
        assert (old / "yolo/w.onnx").read_bytes() == DATA
        assert (await rig.started(second) / "yolo/w.onnx").read_bytes() == newer
        rig.in_use[:] = [second]
        rig.needs.want([second])
        await eventually(lambda: not old.exists(), "the old view goes")
        await eventually(lambda: not rig.file(first.models[0]).exists(), "the old file goes")
        assert (rig.root / "yolo/w.onnx").read_bytes() == newer


async def test_after_a_restart_nothing_is_fetched_again(tmp_path: Path) -> None:
    async with serve_files(FileServer({"/w": DATA})) as server:
        wanted = assignment("a", by_url(server.url("/w"), DATA))
        async with model_rig(tmp_path) as rig:
            await rig.fetched(wanted)
        server.status = 503
        async with model_rig(tmp_path) as rig:
            rig.needs.want([wanted])
            assert rig.needs.missing(wanted) == ""
            assert (await rig.started(wanted) / "yolo/w.onnx").read_bytes() == DATA


class _SlowDisk(RealDisk):
    """Waits at each manifest until it may go on."""

    def __init__(self) -> None:
        self.reached, self.may_go_on = threading.Event(), threading.Event()

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        if label == "model.manifest":
            self.reached.set()
            assert self.may_go_on.wait(60)
        super().write_atomic(label, path, data, mode)


async def test_nothing_writes_there_any_more_when_it_has_been_closed(tmp_path: Path) -> None:
    disk = _SlowDisk()
    async with (
        serve_files(FileServer({"/w": DATA})) as server,
        model_rig(tmp_path, disk=disk) as rig,
    ):
        rig.needs.want([assignment("a", by_url(server.url("/w"), DATA))])
        await eventually(disk.reached.is_set, "a thread writes")
        closing = asyncio.create_task(rig.needs.close())
        for _ in range(100):  # turns of the loop, each of which would be enough for it
            await asyncio.sleep(0)
        assert not closing.done()
        disk.may_go_on.set()
        await closing


async def test_a_damaged_manifest_costs_only_what_nobody_needs(tmp_path: Path) -> None:
    server = FileServer({"/w": DATA})
    async with serve_files(server):
        wanted = assignment("a", by_url(server.url("/w"), DATA))
        async with model_rig(tmp_path) as rig:
            await rig.fetched(wanted)
            await eventually((rig.root / "manifest.json").exists, "it is listed")
        (tmp_path / "models/manifest.json").write_text("{")
        async with model_rig(tmp_path) as rig:
            await rig.fetched(wanted)
            await rig.started(wanted)
            assert len(server.requests) == 1
            assert [each.name for each in (await rig.needs.cache()).models] == ["yolo"]


async def test_leftovers_are_cleaned_at_the_start(tmp_path: Path) -> None:
    root = tmp_path / "models"
    for name in (".fetching/" + "a" * 64, ".views/x.new/y", ".files/" + "b" * 64, "gone/w"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    async with model_rig(tmp_path) as rig:
        rig.needs.want([])
        await settled(rig)
        left = [path for path in root.rglob("*") if path.is_file() and path.name != "manifest.json"]
        assert left == []


async def three_models(rig: ModelRig, server: FileServer) -> list[ModelSpec]:
    specs = []
    for number, name in enumerate(("first", "second", "third")):
        data = content(100_000, number)
        server.files[f"/{name}"] = data
        specs.append(by_url(server.url(f"/{name}"), data, name))
        one = assignment(name, specs[-1])
        await rig.fetched(one)
        await rig.started(one)
    return specs


async def test_the_least_recently_used_goes_first_and_never_a_needed_one(tmp_path: Path) -> None:
    async with serve_files(FileServer({})) as server, model_rig(tmp_path, limit=250_000) as rig:
        specs = await three_models(rig, server)
        await eventually(lambda: not (rig.root / "first").exists(), "the oldest goes")
        assert (rig.root / "second/w.onnx").exists()
        needed = assignment("a", specs[1])
        await rig.fetched(needed)
        assert rig.needs.evictable() == 100_000
        assert await rig.needs.evict(10**9) == 100_000
        await eventually(lambda: not (rig.root / "third").exists(), "what is not needed goes")
        assert rig.needs.evictable() == 0
        assert (await rig.started(needed) / "second/w.onnx").stat().st_size == 100_000
        assert (await rig.needs.cache()).used == 100_000


async def test_what_is_needed_may_exceed_the_limit(tmp_path: Path) -> None:
    async with serve_files(FileServer({"/w": DATA})) as server, model_rig(tmp_path, limit=0) as rig:
        wanted = assignment("a", by_url(server.url("/w"), DATA))
        await rig.fetched(wanted)
        await rig.started(wanted)
        rig.needs.want([])
        await eventually(lambda: not rig.file(wanted.models[0]).exists(), "it goes with its user")


async def test_the_cache_shown_to_people(tmp_path: Path) -> None:
    server = FileServer({"/w": DATA})
    async with serve_files(server), model_rig(tmp_path) as rig:
        wanted = assignment("a", by_url(server.url("/w"), DATA))
        await rig.fetched(wanted)
        await rig.started(wanted)
        absent = assignment("b", by_url(server.url("/none"), b"x", "absent"))
        rig.needs.want([wanted, absent])
        shown = await rig.needs.cache()
        assert (shown.used, shown.limit, shown.evictable) == (len(DATA), 10**9, 0)
        here, missing = shown.models[1], shown.models[0]
        assert (here.name, here.used_by, here.fetched, here.missing) == ("yolo", ["a"], 200_000, "")
        assert here.last_used_at > 0
        assert missing.missing.startswith("model absent: 0 % of 1 B fetched")


async def test_files_of_the_node_itself(tmp_path: Path) -> None:
    source = tmp_path / "here.onnx"
    source.write_bytes(DATA)
    async with model_rig(tmp_path / "data") as rig:
        wanted = assignment("a", model("yolo", DATA, ModelSource(file=str(source))))
        await rig.fetched(wanted)
        source.unlink()
        assert (await rig.started(wanted) / "yolo/w.onnx").read_bytes() == DATA


@pytest.mark.parametrize(
    ("make", "words"), [(os.mkfifo, "it is no file"), (Path.touch, "has 0 bytes")]
)
async def test_what_is_no_such_file_is_refused(tmp_path: Path, make: object, words: str) -> None:
    make(tmp_path / "odd")  # type: ignore[operator]
    async with model_rig(tmp_path / "data") as rig:
        wanted = assignment("a", model("yolo", DATA, ModelSource(file=str(tmp_path / "odd"))))
        rig.needs.want([wanted])
        await eventually(lambda: words in rig.needs.missing(wanted), f"it says {words}")


async def test_several_files_and_an_empty_one(tmp_path: Path) -> None:
    files = {"weights.bin": DATA, "labels.txt": b"", "config.json": b"{}"}
    spec = ModelSpec(
        name="many",
        files=[ModelFile(name, sha256(data), len(data)) for name, data in files.items()],
        source=ModelSource(hub=True),
    )
    async with serve_files(FileServer({})) as server:
        server.files = {f"/sync/v1/blobs/{sha256(data)}": data for data in files.values()}
        async with model_rig(tmp_path, hub=HubAccess(HubAddresses([server.url("")]), "x")) as rig:
            wanted = assignment("a", spec)
            await rig.fetched(wanted)
            view = await rig.started(wanted)
            assert {name: (view / "many" / name).read_bytes() for name in files} == files


async def test_downloads_keep_to_the_bandwidth_together(manual_clock: ManualClock) -> None:
    pace = Pace(1000, manual_clock)
    spends = [asyncio.ensure_future(pace.spend(1000)) for _ in range(3)]
    for done in range(4):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sum(spend.done() for spend in spends) == done
        manual_clock.advance(1.0)


def test_the_same_models_are_the_same_view(tmp_path: Path) -> None:
    one, two = model("one", b"1"), model("two", b"2")
    assert view_of(tmp_path, [one, two]) == view_of(tmp_path, [two, one])
    moved = structs.replace(one, source=ModelSource(url="http://x/1"))
    assert view_of(tmp_path, [moved]) == view_of(tmp_path, [one])
    assert view_of(tmp_path, [model("one", b"2")]) != view_of(tmp_path, [one])
