"""What workers of Cyberwave are made of comes from elsewhere: names of files, texts, models, weights. None of it leads out of its place.

Real rows of a real hub, a real disk, real sockets. What orders of a hub may name is tried in test_lying_hub.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.command_line import CommandLine
from tests.installation import installation
from tests.twin_bodies import ARM, ENVIRONMENT, FOREIGN, Json
from tests.twin_site import Device, TwinSite, twin_site
from tests.weights_rig import files_of, lying, model_at

from skerry.core.cyberwave.workflows import brought
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput
from skerry.node.drivers.workflows import WorkflowFiles, workflows_of
from skerry.testing.waiting import eventually
from skerry.wire.entities import Change, Changes
from skerry.wire.workload import Stop, WorkerSpec, WorkloadSpec

pytestmark = [pytest.mark.timeout(120), pytest.mark.guarantee("G9")]

ENTITY = workflows_of(ENVIRONMENT)
HONEST, LIAR = "f10f0c1e-0000-4000-8000-000000000001", "f10f0c1e-0000-4000-8000-000000000002"

NAMES = [
    "wf_x/../../escaped.py",
    "../wf_x.py",
    "wf_/../x.py",
    "/etc/cron.d/wf_x.py",
    "wf_x.py/../../y.py",
    "wf_..\\x.py",
    "wf_x\x00.py",
    "wf_x\n.py",
    "wf_x.py ",
    "wf_x.sh",
    "x.py",
    "_wf_x.py",
    ".wf_x.py",
    "wf_" + "x" * 250 + ".py",
    "",
    "..",
]


def workflow(name: object, source: object = "print('x')\n", twin: str = ARM) -> Json:
    return {"worker_filename": name, "worker_source": source, "twin_uuid": twin}


async def workers_of(site: TwinSite, device: Device) -> WorkflowFiles:
    """As an agent has it, from what is in its store."""
    files = WorkflowFiles(
        site.node.rows,
        site.node.program.entities,
        site.node.store,
        ENVIRONMENT,
        lambda: [twin.uuid for twin in device.twins.linked()],
        directory=site.config / "workers",
        disk=RealDisk(),
        clock=SystemClock(),
    )
    await files.open()
    return files


@contextlib.asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[tuple[TwinSite, Device, WorkflowFiles]]:
    async with twin_site(directory) as (site, device):
        files = await workers_of(site, device)
        await site.synced()
        yield site, device, files


async def has(files: WorkflowFiles, site: TwinSite, *names: str) -> None:
    """These are the scripts, after some looks."""

    async def found() -> bool:
        await files.look()
        here = {path.name for path in (site.config / "workers").glob("*")}
        return here == set(names)

    await eventually(found, f"the scripts are {names}")


@pytest.mark.parametrize("name", [*NAMES, None, 7, ["wf_x.py"]])
def test_a_name_that_is_none_is_no_file(name: object) -> None:
    found = brought({LIAR: workflow(name)}, [ARM])
    assert not found.files
    assert len(found.faults) == 1


@pytest.mark.parametrize("source", [None, 7, ["x"], "x" * ((1 << 20) + 1), "é" * (1 << 19) + "x"])
def test_a_text_that_is_none_or_too_long_is_no_file(source: object) -> None:
    found = brought({LIAR: workflow("wf_x.py", source)}, [ARM])
    assert not found.files
    assert len(found.faults) == 1


async def test_names_of_workers_lead_nowhere_and_keep_no_honest_one_away(tmp_path: Path) -> None:
    async with watched(tmp_path) as (site, device, files):
        before = {path for path in tmp_path.rglob("*") if path.suffix in (".py", ".sh")}
        liars = [f"{LIAR[:-2]}{number:02}" for number, _ in enumerate(NAMES, 2)]
        for liar, name in zip(liars, NAMES, strict=True):
            await site.put(liar, workflow(name), ENTITY)
        await site.put(HONEST, workflow("wf_honest.py"), ENTITY)
        await has(files, site, "wf_honest.py")
        after = {path for path in tmp_path.rglob("*") if path.suffix in (".py", ".sh")}
        assert after - before == {site.config / "workers" / "wf_honest.py"}
        assert (site.config / "workers" / "wf_honest.py").stat().st_mode & 0o777 == 0o644
        assert (await workers_of(site, device)).written() == [
            site.config / "workers" / "wf_honest.py"
        ]
        answer, *faults = (await files.sync_workflows()).split("; ")
        assert answer == f"1 workers of {len(NAMES) + 1} workflows are here"
        assert [fault.partition(": ")[0] for fault in faults] == [f"workflow {liar}" for liar in liars]  # fmt: skip
        assert all("no name of its worker" in fault for fault in faults)


async def test_nothing_is_written_behind_a_link(tmp_path: Path) -> None:
    prey = tmp_path / "prey"
    prey.mkdir()
    (prey / "file").write_text("precious")
    (tmp_path / "site").mkdir()
    async with watched(tmp_path / "site") as (site, _, files):
        workers = site.config / "workers"
        workers.symlink_to(prey)
        await site.put(HONEST, workflow("wf_honest.py"), ENTITY)
        await eventually(lambda: _knows(files), "the row is there")
        await files.look()
        assert [path.name for path in prey.iterdir()] == ["file"]
        answer = await files.sync_workflows()
        assert answer.startswith("0 workers of 1 workflows are here; cannot write wf_honest.py")
        workers.unlink()
        workers.mkdir()
        (workers / "wf_honest.py").symlink_to(prey / "file")
        await files.look()
        assert (prey / "file").read_text() == "precious"
        assert (workers / "wf_honest.py").read_text() == "print('x')\n"


async def _knows(files: WorkflowFiles) -> bool:
    await files.look()
    return bool(files.workflows)


async def test_a_row_that_a_node_has_written_is_run_nowhere(tmp_path: Path) -> None:
    async with watched(tmp_path) as (site, _, files):
        body = b'{"worker_filename": "wf_evil.py", "worker_source": "x", "twin_uuid": "%b"}'
        change = Change("insert", LIAR, msgspec.Raw(body % ARM.encode()))
        await site.node.program.entities.change(ENTITY, Changes([change]))
        await files.look()
        await site.synced()
        await site.put(HONEST, workflow("wf_honest.py"), ENTITY)
        await has(files, site, "wf_honest.py")


async def test_workers_of_other_devices_twins_are_not_written(tmp_path: Path) -> None:
    async with watched(tmp_path) as (site, _, files):
        await site.put(LIAR, workflow("wf_other.py", twin=FOREIGN), ENTITY)
        await site.put(HONEST, workflow("wf_honest.py"), ENTITY)
        await has(files, site, "wf_honest.py")
        assert files.workflows == (HONEST,)


async def test_an_outage_deletes_nothing_and_a_deletion_only_what_was_written_here(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path) as (site, _, files):
        await site.put(HONEST, workflow("wf_honest.py"), ENTITY)
        await has(files, site, "wf_honest.py")
        (site.config / "workers" / "wf_own.py").write_text("mine")
        (site.config / "workers" / "custom.py").write_text("mine")
        await site.fleet.stop_hub()
        for _ in range(3):
            await files.look()
        await site.fleet.start_hub()
        again = await workers_of(site, await site.restart_agent())
        for _ in range(3):
            await again.look()
        await has(again, site, "wf_honest.py", "wf_own.py", "custom.py")
        site.node.sync_on()
        await site.delete(HONEST, ENTITY)
        await has(again, site, "wf_own.py", "custom.py")


async def test_orders_about_workflows_reach_only_their_own_files(tmp_path: Path) -> None:
    async with watched(tmp_path) as (site, _, files):
        await site.put(HONEST, workflow("wf_honest.py"), ENTITY)
        await has(files, site, "wf_honest.py")
        own = site.config / "workers" / "wf_own.py"
        own.write_text("mine")
        for name in ("../credentials.json", "wf_x/../../y.py", "custom.py"):
            with pytest.raises(InvalidInput):
                await files.remove_workflow_worker([name], "")
        assert await files.remove_workflow_worker(["wf_own.py"], "") == "none of its files is here"
        assert await files.remove_workflow_worker([], HONEST) == "removed wf_honest.py"
        assert [path.name for path in own.parent.iterdir()] == ["wf_own.py"]
        assert await files.sync_workflows() == "1 workers of 1 workflows are here"
        assert (own.parent / "wf_honest.py").read_text() == "print('x')\n"


# Weights.

SCRIPT = """
import os, pathlib, signal
class models:
    def load(name):
        files = pathlib.Path(os.environ.get("SKERRY_MODELS", "/nowhere"), name).glob("*")
        print("loads", name, sum(len(file.read_bytes()) for file in files), flush=True)
models.load("cat")
while True: signal.pause()
"""


@pytest.mark.parametrize("answer", ["wrong", "endless"])
async def test_wrong_and_endless_weights_are_refused_and_keep_no_worker_down(
    short_dir: Path, answer: str
) -> None:
    """Case 39, too: the host of the weights is told no credentials."""
    scripts = short_dir / "w"
    scripts.mkdir()
    (scripts / "a.py").write_text(SCRIPT)
    async with lying(answer) as (weights, port), installation(short_dir) as site:
        shell = CommandLine(site)
        file = shell.file("cat.yaml", model_at(port))
        made = await shell.run("apply", "-f", str(file))
        assert made.code == 0, made.err
        worker = WorkerSpec(str(scripts), models="wish")
        node = await site.started(WorkloadSpec("cam", worker=worker, stop=Stop(grace=1.0)))

        def said() -> list[str]:
            log = node.directory / "logs/cam/current.log"
            lines = log.read_text().splitlines() if log.exists() else []
            return [line.split(" F ", 1)[1] for line in lines]

        await eventually(lambda: said() == ["loads cat 0"], "it starts without the model")
        await eventually(lambda: bool(weights.heads), "the host was asked")
        assert not any(b"authorization" in head.lower() for head in weights.heads)
        assert weights.sent < 32 << 20
        models = node.directory / "models"
        assert sum(files_of(models).values()) < 10_000
        assert not list(models.glob("cat/*.onnx"))
