"""A node that serves Cyberwave's drivers: its own broker and gate are there from its start on, and outlive its agent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import uuid
from pathlib import Path

import pytest
from tests.gate_rig import Agent
from tests.installation import Node, installation, sleeper
from tests.port_takers import TAKEN, Stranger, is_free
from tests.ports import free_pair

from skerry.cli.http import node_api
from skerry.gate import VERSION
from skerry.testing.waiting import eventually
from skerry.wire.local import StopRequest

BOTH = ("cyberwave-broker", "cyberwave-gate")


def serving(node: Node, directory: Path) -> int:
    """Makes it one; returns the port of MQTT, the next one is that of REST."""
    port = free_pair()
    for setting in ("enabled=true", f"config_dir={directory}", f"mqtt_port={port}", f"rest_port={port + 1}"):  # fmt: skip
        node.options += ["--set", f"cyberwave.{setting}"]
    return port


async def connected(port: int) -> socket.socket:
    async def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    await eventually(listens, "the gate listens")
    return socket.create_connection(("127.0.0.1", port))


@pytest.mark.guarantee("G8")
async def test_broker_and_gate_outlive_the_agent(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = site.node()
        port = serving(node, short_dir / "config")
        await node.start()
        await eventually(lambda: node.runs(*BOTH), "broker and gate run without a hub")
        with await connected(port) as client:
            before = await node.pids()
            await node.kill()
            await node.start()
            await eventually(lambda: node.runs(*BOTH), "the next agent has them")
            assert await node.pids() == before
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(1)


async def test_the_hub_hears_nothing_of_broker_and_gate(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = site.node()
        _ = serving(node, short_dir / "config")
        await node.enrol(site.hub)
        await site.hub.apply(sleeper("cam"))
        await node.start()
        await eventually(lambda: node.runs(*BOTH, "cam"), "all run")

        async def told() -> str:
            async with site.hub.api() as api:
                return str(await api.get("/api/v1/nodes", object))

        async def knows() -> bool:
            return "running" in await told()

        await eventually(knows, "the hub has heard of the node's workload")
        assert "cyberwave" not in await told()


@pytest.mark.guarantee("G9")
async def test_the_gates_ports_are_nobody_elses_until_nothing_speaks_there(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = site.node()
        port = serving(node, short_dir / "config")
        node.options += ["--set", f"cyberwave.environment={uuid.uuid4()}"]
        await node.start()

        async def held() -> bool:
            status = await node.status()
            return status is not None and listens(status.keeper_pid, port)

        await eventually(held, "the keeper has the port, too")
        with Stranger("127.0.0.1", port) as one, Stranger("127.0.0.1", port + 1) as other:
            for agent_too in (False, True):
                gate = (await node.pids())["cyberwave-gate"]
                if agent_too:
                    await node.kill()
                os.kill(gate, signal.SIGKILL)
                with socket.create_connection(("127.0.0.1", port)) as client:
                    one.again()
                    if agent_too:
                        await node.start()
                    client.sendall(b"no MQTT at all")
                    client.settimeout(30)
                    assert await asyncio.to_thread(client.recv, 1) == b"", "the next gate hangs up"
                await eventually(lambda: node.runs(*BOTH), "both run again")
        assert [one.outcomes, other.outcomes] == [TAKEN, TAKEN]

        with Agent(node.directory / "run" / "broker") as agent:
            await node.kill()
            await eventually(lambda: agent.ask("hello", ("version", VERSION)).get("error") is None, "it is the gate's agent")  # fmt: skip
            assert agent.ask("addresses", ("host", "127.0.0.6")).get("failed") is None
        await node.start()
        await eventually(lambda: is_free("127.0.0.6", port), "what no driver needs is given up")
        assert not is_free("127.0.0.1", port)

        await node.kill()
        node.options[node.options.index("cyberwave.enabled=true")] = "cyberwave.enabled=false"
        await node.start()
        await eventually(lambda: is_free("127.0.0.1", port), "a node that serves none gives it up")


async def test_a_node_that_ends_with_its_workloads_gives_up_its_ports(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = site.node()
        port = serving(node, short_dir / "config")
        await node.start()
        await eventually(lambda: node.runs(*BOTH), "both run")
        async with node_api(node.directory) as api:
            await api.patient(60).order("POST", "/v1/stop", StopRequest(workloads=True))
        await eventually(lambda: not node.process.runs, "the agent has ended")
        assert is_free("127.0.0.1", port)
        assert is_free("127.0.0.1", port + 1)


def listens(pid: int | None, port: int) -> bool:
    """Whether a process has a socket that listens at this port of loopback."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {line[9] for line in lines if line[1] == f"0100007F:{port:04X}" and line[3] == "0A"}
    return pid is not None and any(
        str(each.readlink()) in {f"socket:[{inode}]" for inode in inodes}
        for each in Path(f"/proc/{pid}/fd").iterdir()
    )
