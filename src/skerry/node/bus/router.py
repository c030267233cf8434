"""The data bus as a workload of this device: one child that is Zenoh's router and that records what is to be kept.

Containers are told the router's endpoint by ZENOH_CONNECT. Where this node has no Zenoh, nobody is told of a router, and
only what programs exchange as files is recorded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

import skerry
from skerry.kit.bell import Bell
from skerry.kit.errors import InvalidInput
from skerry.kit.own_hosts import LOOPBACK
from skerry.node.contracts.cyberwave import ROUTER
from skerry.node.device_workloads import LaunchFor, own_assignment
from skerry.node.ports import Launch, ProcessLaunch
from skerry.wire.codec import decode, encode
from skerry.wire.data_bus import PORT, BusOrder, ChannelRule, Ring
from skerry.wire.extras import installing
from skerry.wire.workload import (
    Assignment,
    ProcessSpec,
    Ready,
    Resources,
    Restart,
    Stop,
    StreamClass,
    WorkloadSpec,
)

_BEHIND_PORT = 5
"""Where the addresses stand in the child's command."""

_ORDER = 4
"""Where the order stood in that of `python -I -m skerry.runners.zenoh ORDER`."""

_PROGRAM = "skerry.runners.zenoh"
"""Stands in the assignment for the child's file, which is another with each release: what runs goes on over an upgrade."""

_CHILD = Path(skerry.__file__).parent / "runners" / "zenoh" / "__main__.py"

_AT_ONCE = Restart(delay=0.1, max_delay=5.0, attempts=1000)
"""Programs that come meanwhile find nobody."""

_MEMORY = 768 << 20
"""Samples have up to 33 MB, and some wait in memory for the node. What the ring has on the disk counts as far as it is cached."""

_STREAM: dict[str, StreamClass] = {"keep": "keep", "sample": "sample"}


class BusPlan(msgspec.Struct, frozen=True):
    """What is wanted of the bus. `directories`: where files are exchanged; empty: nowhere. `rules` and `ring`: `cyberwave.record`."""

    router: bool
    port: int = PORT
    directories: str = ""
    rules: Sequence[ChannelRule] = ()
    ring: Ring = Ring()


def has_zenoh() -> bool:
    """Whether the extra `zenoh` is installed; it is not loaded."""
    return importlib.util.find_spec("zenoh") is not None


class BusWorkloads:
    """Implements `twin_ports.DeviceWorkloads`. `usual` makes the launch of any workload."""

    def __init__(self, plan: BusPlan, usual: LaunchFor, *, zenoh: bool) -> None:
        self.told = Bell()
        self._usual = usual
        self._zenoh = zenoh
        self._plan = plan
        self._twins: Sequence[str] = ()
        self._hosts: Sequence[str] = ()
        self._wanted: list[Assignment] = []

    @property
    def problem(self) -> str:
        """What is asked for and cannot be had, for people; empty: nothing."""
        return _problem(self._plan, zenoh=self._zenoh)

    def take(self, plan: BusPlan) -> None:
        """From now on as this plan says."""
        if plan != self._plan:
            self._plan = plan
            self.serve(self._twins, self._hosts)

    def serve(
        self,
        twins: Sequence[str],
        hosts: Sequence[str] = (),
        *,
        all_known: bool = True,
        running: Assignment | None = None,
    ) -> None:
        """From now on for these twins, and besides the loopback at these addresses of container networks.

        The router begins anew when one of them has changed: peers know each other by then and go on. While not all
        addresses are known (`all_known`), those of what is `running` hold.
        """
        plan, port = self._plan, self._port()
        if not all_known:
            hosts = [*hosts, *_hosts_of(running, *self._wanted)]
        self._twins, self._hosts = twins, hosts
        order = BusOrder(
            port=port,
            hosts=sorted({*hosts} - {LOOPBACK}) if port else [],
            directories=plan.directories,
            twins=sorted(twins) if plan.rules else [],
            rules=list(plan.rules),
            ring=plan.ring,
        )
        needed = port is not None or bool(plan.directories)
        wanted = [own_assignment(_spec(order))] if needed else []
        if wanted != self._wanted:
            self._wanted = wanted
            self.told.ring()

    def endpoint(self, host: str = LOOPBACK) -> str:
        """ZENOH_CONNECT of what reaches this device at `host`; empty: there is no router, peers find each other."""
        port = self._port()
        if port is None:
            return ""
        return f"tcp/[{host}]:{port}" if ":" in host else f"tcp/{host}:{port}"

    def wanted(self) -> Sequence[Assignment]:
        return self._wanted

    def launch_for(self, assignment: Assignment, instance: str) -> Launch | None:
        if not self.is_local(assignment.workload):
            return None
        return router_launch(self._usual(assignment, instance))

    def is_local(self, workload: str) -> bool:
        return workload == ROUTER

    def _port(self) -> int | None:
        return self._plan.port if self._plan.router and self._zenoh else None


def command(order: BusOrder) -> list[str]:
    """The child's: the order, if anything is recorded, and where its router listens. Who only routes reads no JSON."""
    recording = order.rules or order.directories
    router = [] if order.port is None else [str(order.port), *order.hosts]
    return ["python", "-I", _PROGRAM, encode(order).decode() if recording else "", *router]


def router_launch(usual: Launch) -> Launch:
    """The router's launch with this release's child, also of an assignment that another release has left. Raises InvalidInput."""
    assert isinstance(usual, ProcessLaunch)  # noqa: S101 - as its spec says
    return msgspec.structs.replace(usual, command=child_command(usual.command))


def child_command(words: Sequence[str]) -> tuple[str, ...]:
    """The command of an assignment as it is started. Raises InvalidInput."""
    python, isolated, _, *rest = _as_now(words)
    return (python, isolated, str(_CHILD), *rest)


def _as_now(words: Sequence[str]) -> Sequence[str]:
    """A command as `command` makes it; one of a release that had the whole order in JSON is translated. Raises InvalidInput."""
    if len(words) <= _ORDER or words[2] != "-m":
        return words
    order = decode(words[_ORDER].encode(), BusOrder, "what is asked of the data bus")
    return [words[0], *command(order)[1:]]


def _spec(order: BusOrder) -> WorkloadSpec:
    return WorkloadSpec(
        name=ROUTER,
        process=ProcessSpec(command=command(order)),
        ready=Ready(tcp=order.port) if order.port is not None else None,
        restart=_AT_ONCE,
        stop=Stop(grace=5.0),
        streams={rule.keys: _STREAM[rule.kept] for rule in order.rules if rule.kept in _STREAM},
        resources=Resources(memory=_MEMORY),
    )


def _hosts_of(*assignments: Assignment | None) -> list[str]:
    """As `command` has them, behind the port. Of what cannot be read nobody knows any."""
    processes = [one.spec.process for one in assignments if one is not None]
    with suppress(InvalidInput):
        return [host for one in processes if one for host in _as_now(one.command)[_BEHIND_PORT:]]
    return []


def _problem(plan: BusPlan, *, zenoh: bool) -> str:
    if plan.router and not zenoh:
        return f"the data bus has no Zenoh router. {installing('zenoh')}"
    if plan.rules and not plan.router and not plan.directories:
        return "nothing of the data bus is recorded: cyberwave.record needs cyberwave.zenoh_router"
    return ""
