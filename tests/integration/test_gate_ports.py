"""Whoever dies, nobody but the next gate gets the ports of the one before it: the keeper holds them, the agent for the next keeper."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.closing import Closes
from tests.gate_rig import PATIENCE, GateRig, greeting, until
from tests.port_takers import TAKEN, Stranger, is_free
from tests.ports import free_port

from skerry.keeper import protocol
from skerry.kit.clock import SystemClock
from skerry.node.broker.commands import GatePlan, gate_command, started
from skerry.node.broker.link import GateLink
from skerry.node.ports import StoredInstance
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.testing.exits import Exits
from skerry.testing.process_device import ProcessDevice
from skerry.testing.waiting import eventually

pytestmark = [pytest.mark.timeout(120), pytest.mark.guarantee("G9")]
HERE, BRIDGE = "127.0.0.1", "127.0.0.5"
NAME = "gate"


class Caller(Closes):
    """A client that connects and says who it is, whether or not anybody reads it."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self.sock = socket.create_connection((host, port), PATIENCE)
        self.sock.sendall(greeting(token, "caller"))

    def is_served(self) -> bool:
        """Once somebody answers: whether that is «welcome»."""
        return self.sock.recv(4)[3] == 0

    def close(self) -> None:
        self.sock.close()


class Site:
    """A device: its keeper, agents that come and go, and a gate that is started by them."""

    def __init__(self, rig: GateRig, device: ProcessDevice) -> None:
        self.rig, self.device = rig, device
        self.token = rig.token()
        self.exits = Exits()
        self.runtime: ProcessRuntime
        self.link: GateLink
        self._keeping: asyncio.Task[None] | None = None
        self._gate: StoredInstance | None = None
        self._ended = ""
        """The session of the gate that was killed last."""

    @property
    def ports(self) -> tuple[int, int]:
        return self.rig.mqtt_port, self.rig.rest_port

    @property
    def has_agent(self) -> bool:
        return self._keeping is not None

    async def start_agent(self) -> None:
        self.runtime = self.device.agent()
        await self.runtime.connect(self.exits)
        if self._gate:
            await self.runtime.adopt([self._gate])
        hold = partial(self.runtime.sockets.hold, NAME)
        rig = self.rig
        self.link = GateLink(rig.run, rig.journal, SystemClock(), lambda _session: 0, hold)
        self._keeping = asyncio.create_task(self.link.keep())

    async def end_agent(self) -> None:
        """Without a word to anybody, as SIGKILL does it."""
        await self.close()
        await self.runtime.close()

    async def close(self) -> None:
        if self._keeping:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self.link.close()
            self._keeping = None

    async def start_gate(self) -> None:
        rig = self.rig
        plan = GatePlan(rig.run, rig.journal, rig.mqtt_port, rig.rest_port, rig.limit, rig.largest)
        words = started([sys.executable, *gate_command(plan)[1:]])
        launch = replace(self.device.launch(*words, workload=NAME), sockets=NAME)
        self._gate = StoredInstance(launch, await self.runtime.start(launch))

    async def serves(self, *hosts: str) -> None:
        """Drivers may be sent to these addresses."""
        for host in hosts:
            await eventually(lambda: not self.link.unreached(host), f"{host} is the gate's")  # noqa: B023

    async def start(self) -> None:
        """An agent, and a gate at both addresses."""
        await self.start_agent()
        await self.start_gate()
        await self.serves(HERE)
        assert await self.link.listen([BRIDGE]) == []
        await self.serves(HERE, BRIDGE)

    def kill_gate(self) -> None:
        """And whoever else has to die with it."""
        gate = self._gate
        assert gate
        assert gate.identity
        self._ended = self.link.session or self._ended
        os.kill(gate.identity.pid, signal.SIGKILL)
        until(lambda: not self.device.lives(gate.identity), "it is gone")

    async def start_next_gate(self) -> None:
        """By the agent that is there, or by another one, which is told of it when this returns."""
        if not self.has_agent:
            await self.start_agent()
        assert self._gate
        ended = self._gate.launch.instance
        await self.exits.of(ended)
        await self.runtime.acknowledge(ended)
        await self.start_gate()
        await eventually(lambda: self.link.session not in ("", self._ended), "it is another")

    async def kill_keeper(self) -> None:
        """The next one is there when it returns, if an agent is."""
        (before,) = self.device.keeper_pids()
        self.device.kill_keeper()
        if self.has_agent:
            await eventually(lambda: self.runtime.keeper_pid not in (None, before), "another")


@pytest.fixture
async def site(short_dir: Path, memory_dir: Path) -> AsyncIterator[Site]:
    device = ProcessDevice(short_dir)
    with GateRig(short_dir, memory_dir) as rig:
        rig.start_broker()
        site = Site(rig, device)
        yield site
        await site.close()
        await device.end()


async def nobody_else_gets_them(site: Site) -> None:
    """The ports of a gate that is killed now, until the next one serves who has come meanwhile."""
    places = [(host, port) for host in (HERE, BRIDGE) for port in site.ports]
    with ExitStack() as stack:
        strangers = [stack.enter_context(Stranger(*place)) for place in places]
        await asyncio.to_thread(site.kill_gate)
        callers = [
            stack.enter_context(Caller(host, site.rig.mqtt_port, site.token))
            for host in (HERE, BRIDGE)
        ]
        for stranger in strangers:
            await asyncio.to_thread(stranger.again)
        await site.start_next_gate()
        assert all([await asyncio.to_thread(caller.is_served) for caller in callers])
    assert [stranger.outcomes for stranger in strangers] == [TAKEN] * 4


async def test_while_a_gate_restarts_its_clients_wait_and_nobody_gets_its_ports(site: Site) -> None:
    await site.start()
    for _ in range(3):
        await nobody_else_gets_them(site)
        await site.serves(HERE, BRIDGE)


async def test_also_where_the_agent_dies_before_the_gate(site: Site) -> None:
    await site.start()
    await site.end_agent()
    await nobody_else_gets_them(site)
    await site.end_agent()
    await site.start_agent()
    await site.serves(HERE)
    await nobody_else_gets_them(site)


async def test_also_by_a_keeper_that_has_followed_another(site: Site) -> None:
    await site.start()
    await site.kill_keeper()
    await nobody_else_gets_them(site)


async def test_also_where_nobody_but_the_gate_had_them_left(site: Site) -> None:
    await site.start()
    await site.end_agent()
    await site.kill_keeper()
    await site.start_agent()
    await site.serves(HERE)
    await nobody_else_gets_them(site)


async def test_also_where_only_the_agent_has_them_for_a_moment(site: Site) -> None:
    """Keeper and gate die at once: the agent has the next keeper hold the ports before it starts anything."""
    await site.start()
    with ExitStack() as stack:
        strangers = [stack.enter_context(Stranger(HERE, port)) for port in site.ports]
        site.device.kill_keeper()
        await asyncio.to_thread(site.kill_gate)
        await site.start_next_gate()
        await site.serves(HERE)
    assert [stranger.outcomes for stranger in strangers] == [TAKEN] * 2


async def test_an_address_that_nobody_needs_is_everybodys(site: Site) -> None:
    await site.start()
    assert await site.link.listen([]) == []
    await eventually(lambda: is_free(BRIDGE, site.rig.mqtt_port), "it is free")
    assert await site.link.listen([BRIDGE]) == []
    await site.serves(BRIDGE)
    assert not is_free(BRIDGE, site.rig.mqtt_port)


async def test_an_address_may_be_written_as_the_system_does_not(site: Site) -> None:
    host = "0:0:0:0:0:0:0:1" if Path("/proc/net/if_inet6").exists() else "127.0.0.7"
    await site.start_agent()
    await site.start_gate()
    await site.serves(HERE)
    assert await site.link.listen([host]) == []
    await site.serves(host)
    await asyncio.to_thread(site.kill_gate)
    with Caller(host, site.rig.mqtt_port, site.token) as caller:
        await site.start_next_gate()
        assert await asyncio.to_thread(caller.is_served)
        await site.serves(host)


async def test_as_many_addresses_as_one_message_can_hand_over(site: Site) -> None:
    hosts = [f"127.0.8.{n}" for n in range(1, 70)]
    await site.start_agent()
    await site.start_gate()
    await site.serves(HERE)
    failed = await site.link.listen(hosts)
    assert [line.partition(":")[0] for line in failed] == hosts[63:]
    await site.serves(hosts[62])
    assert site.link.unreached(hosts[63])
    await asyncio.to_thread(site.kill_gate)
    with Caller(hosts[62], site.rig.mqtt_port, site.token) as caller:
        await site.start_next_gate()
        assert await asyncio.to_thread(caller.is_served)


async def test_a_gate_at_another_port_gives_up_the_one_before(site: Site) -> None:
    await site.start()
    before = site.rig.mqtt_port
    await asyncio.to_thread(site.kill_gate)
    site.rig.mqtt_port = free_port()
    await site.start_next_gate()
    await site.serves(HERE, BRIDGE)
    await eventually(lambda: is_free(HERE, before), "it is free")
    await nobody_else_gets_them(site)


async def test_an_agent_that_knows_nothing_of_it_can_start_its_gate(site: Site) -> None:
    """That of an earlier release, to which an update has gone back: its gates take their ports by themselves."""
    await site.start()
    await site.end_agent()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(PATIENCE)
        await asyncio.to_thread(sock.connect, str(site.device.socket))
        hello = [("op", "hello"), ("id", 1), ("version", protocol.VERSION)]
        protocol.transmit(sock, protocol.encode(hello))
        answer = await asyncio.to_thread(protocol.receive, sock)
        assert answer
        assert answer.get("error") is None
    await asyncio.to_thread(site.kill_gate)
    assert all(is_free(HERE, port) for port in site.ports)


async def test_nothing_else_is_given_the_gates_sockets(site: Site) -> None:
    await site.start()
    launch = site.device.launch("sleep", "1000", workload="other")
    identity = await site.runtime.start(launch)
    found: dict[str, str] = {}

    def is_read() -> bool:
        """A program that has just started opens and closes its libraries."""
        with contextlib.suppress(FileNotFoundError):
            descriptors = Path(f"/proc/{identity.pid}/fd").iterdir()
            found.update({each.name: str(each.readlink()) for each in descriptors})
        return bool(found)

    await eventually(is_read, "its descriptors are read")
    assert not any(where.startswith("socket:") for where in found.values()), found
    assert b"LISTEN_" not in Path(f"/proc/{identity.pid}/environ").read_bytes()


async def test_where_the_data_directory_is_gone_the_ports_are_everybodys_after_the_gate(
    site: Site,
) -> None:
    await site.start()
    await site.end_agent()
    shutil.rmtree(site.device.directory)
    await asyncio.to_thread(site.kill_gate)
    await eventually(lambda: is_free(HERE, site.rig.mqtt_port), "the keeper has let go")
