"""A device's life with real processes: registered, enrolled, restarted from afar, and decommissioned until nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.installation import BY_SECRET, Hub, Installation, Node, installation, sleeper

from skerry.cli.http import node_api
from skerry.node.retirement import read_certificate
from skerry.testing.waiting import eventually
from skerry.wire.devices import DeviceDetail
from skerry.wire.records import PublishedRecord

pytestmark = pytest.mark.timeout(180)

CANARY = "canary-5c1f0e"
SCRIPT = Path(__file__).parents[2] / "infra" / "scripts" / "manage_edge_device.sh"


async def device(hub: Hub, name: str = "n1") -> DeviceDetail:
    async with hub.api() as api:
        return await api.get(f"/api/devices/{name}", DeviceDetail)


async def is_in(hub: Hub, state: str, name: str = "n1") -> bool:
    return (await device(hub, name)).state == state


async def is_erased(hub: Hub, name: str = "n1") -> bool:
    return (await device(hub, name)).erased


async def publish(node: Node, *values: int) -> None:
    records = [PublishedRecord("t.value", time.time_ns(), value) for value in values]
    await asyncio.to_thread(node.publisher("feeder").publish, "measurement", records, 60.0)


def left_in(node: Node) -> set[str]:
    walked = os.walk(node.directory)  # which minds no directory that goes meanwhile
    return {
        str((Path(folder) / name).relative_to(node.directory))
        for folder, directories, files in walked
        for name in (*directories, *files)
    }


def deeds(hub: Hub) -> set[str]:
    """What the hub knows of what was done at its nodes."""
    with contextlib.closing(sqlite3.connect(hub.directory / "hub.db")) as db:
        return {action for (action,) in db.execute("SELECT action FROM node_audit")}


async def ended(node: Node) -> int:
    assert node.process.process is not None
    return await node.process.process.wait()


async def test_restart_ends_what_runs_and_begins_anew(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("feeder"))
        await eventually(partial(is_in, site.hub, "active"), "it is active")
        before, shell = await node.pids(), CommandLine(site)
        status = await node.status()
        assert status is not None
        told = await shell.run("device", "restart", "n1", "-o", "json")
        assert json.loads(told.out)["state"] == "queued", told.err

        async def anew() -> bool:
            now = await node.status()
            return now is not None and now.started_at > status.started_at

        await eventually(anew, "the agent started anew")
        await eventually(lambda: node.runs("feeder"), "the workload runs")
        assert (await node.pids())["feeder"] != before["feeder"]

        async def done() -> bool:
            return [each.state for each in (await device(site.hub)).commands] == ["done"]

        await eventually(done, "the hub knows")
        assert node.process.runs  # the same process, so that whoever supervises it sees no end


@pytest.mark.guarantee("G1")
async def test_a_device_that_is_online_sends_everything_before_it_erases_itself(
    tidy_dir: Path,
) -> None:
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("feeder", env={"SECRET": CANARY}))
        [pid] = (await node.pids()).values()
        await publish(node, *range(500))
        shell = CommandLine(site)
        await eventually(
            lambda: "agent_start" in deeds(site.hub), "the hub has heard of its audit log"
        )
        async with node_api(node.directory) as api:
            await api.order("POST", "/v1/sync/now")
        gone = await shell.run("device", "decommission", "n1", "--reason", "sold", "-o", "json")
        assert json.loads(gone.out)["state"] == "decommissioned", gone.err
        assert await ended(node) == 0
        assert not Path(f"/proc/{pid}").exists()
        await eventually(partial(is_erased, site.hub), "the hub has the certificate")
        assert left_in(node) == {"decommissioned.json", "node.lock"}
        found = await device(site.hub)
        assert {"sync_now", "order_decommission"} <= deeds(site.hub)
        assert found.erasure is not None
        assert str(node.directory / "node.secret") in found.erasure.erased.keys
        assert CANARY not in found.erasure.statement
        async with site.hub.api() as api:
            rows = await api.get(f"/api/v1/records?name=t.value&node={found.id}&limit=1000", dict)
        assert len(rows["rows"]) == 500
        status = await shell.run("node", "status")
        assert "was decommissioned and has erased itself" in status.out, status
        shown = await shell.run("device", "show", "n1")
        assert "sold" in shown.out
        await node.start()
        assert await ended(node) == 0  # whoever supervises it need not start it again
        await enrol_anew(site, node, shell)


async def enrol_anew(site: Installation, node: Node, shell: CommandLine) -> None:
    """The machine, as a new device of the same name, with a new token."""
    token = await shell.run("device", "provision", "n1")
    words = ("node", "enroll", "--hub", site.hub.nodes_url, "--data-dir", str(node.directory))
    back = await shell.run(*words, stdin=token.out.encode())
    assert "this is now node «n1»" in back.out, back.err
    await node.start()
    await eventually(partial(is_in, site.hub, "active"), "it works again")


@pytest.mark.guarantee("G9")
async def test_a_device_that_is_offline_is_refused_at_once_and_erases_itself_when_it_comes(
    tidy_dir: Path,
) -> None:
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("feeder"))
        await node.kill()
        shell = CommandLine(site)
        gone = await shell.run("device", "decommission", "n1", "--now", "-o", "json")
        assert json.loads(gone.out) == {
            "device": "n1", "id": (await device(site.hub)).id, "state": "decommissioned", "erased": False,
        }  # fmt: skip
        [pid] = [each for each in node.processes() if b"signal.pause" in words_of(each)]
        await node.start()
        assert await ended(node) == 0
        assert not Path(f"/proc/{pid}").exists()
        await eventually(partial(is_erased, site.hub), "the hub has the certificate")
        assert left_in(node) == {"decommissioned.json", "node.lock"}


def words_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


async def test_the_certificate_waits_for_the_hub(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("feeder"))
        mark = node.directory / "decommission.json"
        async with site.hub.api() as api:
            await api.send("DELETE", "/api/devices/n1?now=true", None, DeviceDetail)
        await eventually(
            lambda: _is(mark.exists() or left_in(node) <= {"decommissioned.json", "node.lock"}),
            "marked",
        )
        await site.hub.kill()
        await eventually(
            lambda: _is(left_in(node) == {"decommissioned.json", "node.lock"}),
            "everything is erased",
        )
        await site.hub.start()
        await eventually(partial(is_erased, site.hub), "the hub has the certificate")
        assert await ended(node) == 0


async def _is(value: bool) -> bool:
    return value


STEPS = ["erase.mark", "erase.begin", "erase.overwrite", "erase.key", "erase.file", "erase.places", "erase.certificate", "erase.done"]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.guarantee("G9")
async def test_whenever_it_is_killed_it_goes_on_erasing_itself(tidy_dir: Path, step: str) -> None:
    async with installation(tidy_dir) as site:
        node = await site.started(sleeper("feeder"))
        await publish(node, *range(50))
        await node.kill()
        async with site.hub.api() as api:
            await api.send("DELETE", "/api/devices/n1?now=true", None, DeviceDetail)
        await node.start(fault=(step, 1))
        assert await ended(node) == -9, node.log.read_text()
        marked = (node.directory / "decommission.json").exists()
        assert marked or step in {"erase.mark", "erase.done"}
        await node.start()
        assert await ended(node) == 0
        await eventually(partial(is_erased, site.hub), "the hub has the certificate")
        assert left_in(node) == {"decommissioned.json", "node.lock"}
        assert not node.processes()


@pytest.mark.guarantee("G9")
async def test_a_device_without_a_certificate_is_told_by_its_secret(tidy_dir: Path) -> None:
    async with installation(tidy_dir, BY_SECRET) as site:
        node = await site.started(sleeper("feeder"))
        await node.kill()
        gone = await CommandLine(site).run("device", "decommission", "n1", "--now")
        assert gone.code == 0, gone.err
        believed = authority(node.directory)
        node.options += ["--set", f"hub.ca_file={node.directory / 'own.pem'}"]
        await node.start()
        assert await ended(node) == 0, node.log.read_text()
        await eventually(partial(is_erased, site.hub), "the hub has the certificate of erasure")
        assert left_in(node) == {"decommissioned.json", "node.lock"}
        left = read_certificate(node.directory)
        assert left is not None
        assert left.authorities == believed.strip()


def authority(directory: Path) -> str:
    """`own.pem` in there, with its key beside it."""
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x"]  # fmt: skip
    files = ["-keyout", str(directory / "own.key"), "-out", str(directory / "own.pem")]
    subprocess.run(["openssl", *words, *files], check=True, capture_output=True)
    return (directory / "own.pem").read_text()


async def script(site: Installation, *words: str, hub: str = "") -> tuple[int, str]:
    """The documented script: its exit code, and what it printed."""
    environment = {
        "PATH": f"{site.directory}/bin:{os.environ['PATH']}",
        "SKERRY_HUB": hub or site.hub.url,
        "SKERRY_TOKEN_FILE": str(site.hub.directory / "admin.token"),
        "IP_ADDRESS": "10.0.0.7",
        "SSH_USER": "pi",
    }
    process = await asyncio.create_subprocess_exec(
        str(SCRIPT), *words, env=environment, cwd=site.directory,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_documented_script(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        ssh = site.directory / "bin" / "ssh"
        ssh.parent.mkdir()
        ssh.write_text(f"#!/bin/sh\ntouch {site.directory}/ssh-was-run\n")
        ssh.chmod(0o755)
        for words in ((), ("restart",), ("restart", "")):
            code, out = await script(site, *words)
            assert (code, "Actions: provision, update, restart, decommission" in out) == (1, True)
        code, out = await script(site, "explode", "n1")
        assert (code, out.startswith("Unknown action: explode")) == (1, True)
        code, out = await script(site, "restart", "../nodes")
        assert (code, "Not a device's id" in out) == (1, True)
        code, out = await script(site, "restart", "nobody")
        assert (code, "404" in out) == (1, True), out
        code, out = await script(site, "decommission", "n1", hub="http://127.0.0.1:1")
        assert (code, "Cannot reach the hub" in out) == (1, True), out

        code, out = await script(site, "provision", "n1")
        assert code == 0, out
        token = site.directory / "n1.token"
        assert token.stat().st_mode & 0o777 == 0o600
        shell, node = CommandLine(site), site.node()
        words = ("node", "enroll", "--hub", site.hub.nodes_url, "--data-dir", str(node.directory))
        enrolled = await shell.run(*words, stdin=token.read_bytes())
        assert enrolled.code == 0, enrolled.err
        await node.start()
        await eventually(partial(is_in, site.hub, "active"), "it is active")
        found = await device(site.hub)
        assert (found.ip_address, found.ssh_user) == ("10.0.0.7", "pi")
        code, out = await script(site, "update", "n1")
        assert (code, "409" in out) == (1, True), out
        for action in ("restart", "decommission"):
            code, out = await script(site, action, "n1")
            assert (code, f"Action {action} completed" in out) == (0, True), out
        assert await ended(node) == 0
        assert not (site.directory / "ssh-was-run").exists()
