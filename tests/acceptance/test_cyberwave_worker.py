"""The workers of Cyberwave on a node, its credentials, and what its command line says, by the cases of its brief."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.command_line import CommandLine, Ended
from tests.container_site import with_engine
from tests.cyberwave_image import SDK_IMAGE
from tests.cyberwave_site import DEVICE, CyberwaveSite, cyberwave_site, native
from tests.engines import TestEngine, ask
from tests.model_cases import content, sha256
from tests.native_workers import add_script, said, work_natively, worker_of

from skerry.node.identity import read_identity
from skerry.testing.waiting import eventually
from skerry.wire.local import WorkerStatus

pytestmark = pytest.mark.timeout(180)

PAUSE = 10 * 10**9
"""Nanoseconds between two restarts, at least (case 41)."""

SLEEPS = ("/bin/sh", "-c", "echo up; sleep 1000")


async def identify(site: CyberwaveSite) -> None:
    """A person tells the hub which device the node is: only then it may speak of the device's twins."""
    identity = read_identity(site.node.directory)
    assert identity is not None
    path = f"/api/devices/{identity.node_id}/fingerprint?fingerprint={DEVICE}"
    async with site.site.hub.api() as api:
        await api.order("POST", path)


async def shown(shell: CommandLine) -> Ended:
    return await shell.run("node", "status")


async def test_case_1_without_credentials_it_says_so_and_starts_nothing(short_dir: Path) -> None:
    """Not as the reference: the node, which has other work, goes on, and it is `skerry node status` that ends with 1.

    Drivers and workers are native here. That no container is made and nobody is called over the network is not shown:
    the node speaks with its hub as ever.
    """
    async with cyberwave_site(short_dir) as site:
        work_natively(site, short_dir)
        shell = CommandLine(site.site)
        _ = await site.join(native(*SLEEPS))
        add_script(site)
        status = await shown(shell)
        assert status.code == 1
        assert (
            f"✗ Credentials: no credentials: {site.config}/credentials.json has no token"
            in status.out
        )
        for word in ("start", "logs"):
            refused = await shell.run("worker", word)
            assert (refused.code, "credentials.json has no token" in refused.err) == (1, True)
        assert not {name for name in await site.node.pids() if name.startswith(("cyberwave-d", "cyberwave-w"))}  # fmt: skip
        assert list((site.config / "models").iterdir()) == []
        site.sign_in()
        await eventually(lambda: site.node.runs(worker_of(site)), "the workers run now")

        told: list[str] = []

        async def well() -> bool:
            found = await shown(shell)
            told.append(found.out)
            return found.code == 0 and "✓ Credentials" in found.out

        await eventually(well, "all is well")
        assert "✓ Token" in told[-1]
        assert re.search(r"✓ MQTT broker \(\d+\.\d{3}s\)", told[-1]), told[-1]
        (site.config / "credentials.json").unlink()
        await eventually(lambda: _fails(shell), "it is told")
        assert await site.node.runs(worker_of(site))


async def _fails(shell: CommandLine) -> bool:
    return (await shown(shell)).code == 1


async def test_case_3_a_hub_that_refuses_the_token_is_told_and_no_driver_has_it(
    short_dir: Path,
) -> None:
    async with cyberwave_site(short_dir) as site:
        shell = CommandLine(site.site)
        [twin] = await site.join(native(*SLEEPS))
        removed = await shell.run("delete", "node", "n1")
        assert removed.code == 0, removed.err
        site.sign_in()
        await eventually(
            lambda: site.node.runs(site.driver(twin)), "the driver runs from the cache"
        )

        async def told() -> bool:
            found = await shown(shell)
            return found.code == 1 and "does not accept this device's token" in found.out

        await eventually(told, "the token is named")
        pid = await site.node.pid(site.driver(twin))
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        secret = json.loads((site.config / "credentials.json").read_text())["token"]
        assert secret.encode() not in environment
        assert b"CYBERWAVE_API_KEY=cw_" in environment


@contextlib.asynccontextmanager
async def counting() -> AsyncIterator[tuple[int, list[str]]]:
    """A registry that has nothing, and notes what it is asked."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


async def test_case_33_without_a_script_there_is_no_container_and_no_pull(
    short_dir: Path, docker_engine: TestEngine
) -> None:
    async with cyberwave_site(short_dir) as site, counting() as (port, asked):
        with_engine(site.node, docker_engine)
        site.variables["CYBERWAVE_WORKER_IMAGE"] = f"127.0.0.1:{port}/acme/worker:1"
        (site.config / "workers").mkdir(parents=True)
        (site.config / "workers" / "_helper.py").write_text("x = 1\n")
        (site.config / "workers" / "cyberwave.yml").write_text("models: [nobody-has-it]\n")
        site.sign_in()
        [twin] = await site.join(native(*SLEEPS))
        await identify(site)
        await eventually(lambda: site.node.runs(site.driver(twin)), "the driver runs")
        status = await site.node.status()
        assert status is not None
        assert worker_of(site) not in [one.workload for one in status.workloads]
        assert asked == []
        add_script(site)
        await eventually(lambda: bool(asked), "the image is asked for")

        async def alerted() -> bool:
            return "worker_start_failure" in [one["alert_type"] for one in await site.alerts()]

        await eventually(alerted, "people are told that it cannot be had")


def inspected(engine: TestEngine, name: str) -> dict[str, Any]:
    status, body = ask(engine.socket, "GET", f"/v1.40/containers/{name}/json")
    assert status == 200, body
    return msgspec.json.decode(body, type=dict[str, Any])


async def test_cases_43_and_45_a_container_has_its_limits_and_its_end_is_noticed(
    short_dir: Path, sdk_engine: TestEngine
) -> None:
    async with cyberwave_site(short_dir) as site:
        with_engine(site.node, sdk_engine)
        site.variables |= {
            "CYBERWAVE_WORKER_IMAGE": SDK_IMAGE,
            "CYBERWAVE_WORKER_CPU_QUOTA_PERCENT": "150",
            "CYBERWAVE_WORKER_MEMORY_MB": "512",
        }
        site.sign_in()
        [twin] = await site.join({})
        add_script(site, text="print('script', cw is not None, flush=True)\n")
        name = worker_of(site)
        await eventually(lambda: "script True" in site_log(site, name), "the script runs", 60)
        listed = await CommandLine(site.site).run("worker", "status")
        assert f"  image     {SDK_IMAGE}\n" in listed.out
        assert "health: " in listed.out
        found = inspected(sdk_engine, name)
        host = found["HostConfig"]
        assert (host["CpuPeriod"], host["CpuQuota"]) == (100_000, 150_000)
        assert (host["Memory"], host["PidsLimit"]) == (512 << 20, 4096)
        assert host["NetworkMode"] == "host"
        pid = await site.node.pid(name)
        inside = {path.name for path in Path(f"/proc/{pid}/root/dev/shm").iterdir()}
        assert not [name for name in inside if not name.endswith(".zenoh")]  # nothing of the node's
        assert not host["Privileged"]
        variables = dict(each.partition("=")[::2] for each in found["Config"]["Env"])
        assert variables["CYBERWAVE_TWIN_UUIDS"] == twin
        assert variables["CYBERWAVE_ENVIRONMENT_UUID"] == site.environment
        assert variables["CYBERWAVE_API_KEY"] != "cw_of_the_device"
        targets = {one["Destination"] for one in found["Mounts"]}
        assert targets >= {"/app/workers", "/app/.cyberwave", "/run/cyberwave"}

        async def ready() -> bool:
            return f"worker {name} is ready" in site.node.log.read_text()

        await eventually(ready, "it has said that it is ready")
        status, body = ask(sdk_engine.socket, "POST", f"/v1.40/containers/{name}/kill")
        assert status == 204, body
        exited = f"worker {name} exited by itself"
        await eventually(lambda: exited in site.node.log.read_text(), "it is noticed", 60)
        await eventually(
            lambda: site_log(site, name).count("script True") == 2, "it runs again", 60
        )


def site_log(site: CyberwaveSite, workload: str) -> str:
    directory = site.node.directory / "logs" / workload
    return "".join(path.read_text() for path in sorted(directory.glob("*.log")))


async def test_a_worker_that_ends_is_started_six_times_at_most(short_dir: Path) -> None:
    """Whatever it ends with: here code 0 and 3 in turn."""
    async with cyberwave_site(short_dir) as site:
        shell = CommandLine(site.site)
        mark = short_dir / "mark"
        command = f"[/bin/sh, -c, 'echo life; rm {mark} && exit 3; touch {mark}']"
        site.node.options += ["--set", f"cyberwave.worker_command={command}"]
        site.sign_in()
        _ = await site.join({})
        add_script(site)
        name = worker_of(site)

        async def tripped() -> bool:
            status = await site.node.status()
            found = (
                [one.phase for one in status.workloads if one.workload == name] if status else []
            )
            return found == ["tripped"]

        await eventually(tripped, "the breaker is open", 90)
        assert site_log(site, name).count("life") == 7
        health = await shell.run("worker", "health")
        assert health.code == 2
        assert f"{name}: breaker open" in health.out
        assert health.out.count("crash: ended: code") == 6, health.out
        status = await shell.run("worker", "status")
        codes = [status.out.count(f"crash: ended: code {code}") for code in (0, 3)]
        assert codes == [2, 3], status.out  # the last ones; all are in JSON


async def test_scripts_that_go_end_the_workers_and_others_of_a_copy_do_not(short_dir: Path) -> None:
    """Nor does another environment, which is for the next start."""
    async with cyberwave_site(short_dir) as site:
        site.environment_by_file()
        work_natively(site, short_dir)
        site.sign_in()
        _ = await site.join({})
        add_script(site)
        name = worker_of(site)
        await eventually(lambda: "['a.py']" in site_log(site, name), "it runs")
        before = await site.node.pid(name)
        (site.config / "workers" / "a.py").unlink()
        add_script(site)  # as it was
        (site.config / "notes").write_text("x")
        assert (await site.node.pids())[name] == before
        (site.config / "environment.json").write_text(json.dumps({"uuid": site.asset}))
        told = f"the twins of environment {site.environment} are served until the node starts again"
        await eventually(lambda: told in site.node.log.read_text(), "it is told")
        add_script(site, "b.py")
        await eventually(lambda: "['a.py', 'b.py']" in site_log(site, name), "the same group goes on")  # fmt: skip
        for script in ("a.py", "b.py"):
            (site.config / "workers" / script).unlink()

        async def ended() -> bool:
            return name not in await site.node.pids()

        await eventually(ended, "there is nothing to run")


async def test_case_37_weights_with_a_flipped_byte_are_fetched_again(short_dir: Path) -> None:
    async with cyberwave_site(short_dir) as site:
        work_natively(site, short_dir)
        shell = CommandLine(site.site)
        site.sign_in()
        _ = await site.join({})
        data = content(300_000)
        file = shell.file("yolov8n.onnx", data)
        pushed = await shell.run("model", "push", str(file), "--name", "yolov8n")
        assert pushed.code == 0, pushed.err
        add_script(site, "cyberwave.yml", "models:\n  - yolov8n\n")
        add_script(site)
        await eventually(lambda: said(site, "weights") == [sha256(data)], "it has its weights")
        weights = site.config / "models" / "yolov8n" / "yolov8n.onnx"
        with weights.open("r+b") as held:
            held.seek(1000)
            held.write(bytes([data[1000] ^ 1]))
        restarted = await shell.run("worker", "restart")
        assert restarted.code == 0, restarted.err
        await eventually(
            lambda: said(site, "weights") == [sha256(data)] * 2, "it has the good ones"
        )


async def test_a_model_that_cannot_be_had_is_told_of_and_the_worker_starts(
    short_dir: Path,
) -> None:
    async with cyberwave_site(short_dir) as site:
        work_natively(site, short_dir)
        shell = CommandLine(site.site)
        site.sign_in()
        _ = await site.join({})
        add_script(site, "cyberwave.yml", "models: [cat]\n")
        add_script(site)
        await eventually(lambda: said(site, "weights") == [""], "it runs without its weights")

        async def told(*statuses: str) -> bool:
            found = [
                one for one in await site.alerts() if one["alert_type"] == "model_download_failure"
            ]
            return [(one["metadata"]["model_id"], one["status"]) for one in found] == [("cat", status) for status in statuses]  # fmt: skip

        await eventually(lambda: told("active"), "the hub has the alert")
        data = content(3000)
        pushed = await shell.run("model", "push", str(shell.file("cat.onnx", data)), "--name", "cat")  # fmt: skip
        assert pushed.code == 0, pushed.err
        await eventually(lambda: said(site, "weights") == ["", sha256(data)], "it has them now", 90)
        await eventually(lambda: told("resolved"), "the alert is over")


async def test_case_41_five_quick_edits_are_two_restarts(short_dir: Path) -> None:
    async with cyberwave_site(short_dir) as site:
        work_natively(site, short_dir)
        shell = CommandLine(site.site)
        site.sign_in()
        _ = await site.join({})
        add_script(site, text="0")
        await eventually(lambda: said(site, "texts") == ["0"], "it runs")
        add_script(site, text="1")
        await eventually(
            lambda: said(site, "texts") == ["0", "1"], "the first edit is loaded at once"
        )
        for edit in range(2, 6):
            await asyncio.sleep(1.0)  # as rsync writes
            add_script(site, text=str(edit))
        last = time.time_ns()
        await eventually(lambda: said(site, "texts")[-1] == "5", "the last state is loaded", 60)
        listed = await shell.run("worker", "status", "--output", "json")
        [found] = msgspec.json.decode(listed.out, type=list[WorkerStatus])
        times = [one.at for one in reversed(found.restarts)]
        assert all(later - earlier >= PAUSE for earlier, later in pairwise(times))
        # Edits of more than ten seconds, on a busy machine, are a reason for a third.
        assert len(times) == 2 or last - times[0] > PAUSE
        assert len(said(site, "texts")) == 1 + len(times)
