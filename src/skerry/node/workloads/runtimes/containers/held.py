"""What the runtime holds of each instance, from before its container is made until its exit is acknowledged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

import msgspec

from skerry.kit.bell import Bell
from skerry.node.ports import ContainerLaunch, Launch, ProcessIdentity
from skerry.node.workloads.runtimes.containers.answers import Container, Listed
from skerry.node.workloads.runtimes.containers.creation import DEVICES, LOG, WORKLOAD, log_of
from skerry.node.workloads.runtimes.containers.memory import OomCounter
from skerry.node.workloads.runtimes.containers.output import LogTarget, Output
from skerry.node.workloads.runtimes.containers.strict import described

ENDED = frozenset({"exited", "dead"})


class Held(msgspec.Struct):
    """One instance; what is not known yet is empty or None."""

    instance: str
    workload: str
    target: LogTarget
    container: str = ""
    identity: ProcessIdentity | None = None
    output: Output | None = None
    ended: bool = False
    isolation: str = ""
    """What keeps it from the device, for people; empty: an earlier agent has made it, and the store knows."""
    health: str | None = None
    """What its health check says; empty: it has none."""
    memory: OomCounter | None = None
    out_of_memory: bool = False
    code: int | None = None
    """Its exit code, once the engine has told that it died."""
    reason: str = ""
    """Why we have ended it."""
    stop_watching: Callable[[], None] | None = None
    goes_on: bool = False
    """Its engine starts it again whenever it ends by itself: that is no end."""
    leaving: bool = False
    """It was asked to end, so its next end is one."""
    followed: bool = False
    """Its first process has ended, and it is being seen what its engine makes of that."""
    news: Bell = msgspec.field(default_factory=Bell)
    """Rings when the engine has told something of it, or it was asked to end."""


def forget_process(held: Held) -> None:
    """Its first process has ended and another takes its place."""
    if held.stop_watching is not None:
        held.stop_watching()
    held.stop_watching = held.identity = held.code = None
    held.out_of_memory = False


async def let_go(held: Held) -> None:
    """Nobody watches it or follows its output any more."""
    if held.stop_watching is not None:
        held.stop_watching()
    if held.output is not None:
        await held.output.stop()


def has_ended(found: Container, identity: ProcessIdentity | None) -> bool:
    """Whether the process that we know has ended; with `unattended_restart` the engine may have started another."""
    ours = identity is not None and found.state.pid == identity.pid
    return found.state.status in ENDED or not ours


_ALWAYS = frozenset({"always", "unless-stopped"})

Fate = Literal["ended", "down", "again", "same", "unknown"]


def starts_again(found: Container) -> bool:
    """Whether its engine starts it again whenever it ends by itself."""
    return found.host_config.restart_policy.name in _ALWAYS


def goes_on(launch: Launch) -> bool:
    """Whether the engine is asked to do so."""
    if not isinstance(launch, ContainerLaunch):
        return False
    return launch.extras.host.get("RestartPolicy", {}).get("Name") in _ALWAYS


def fate_of(
    found: Container, known: ProcessIdentity | None, now: ProcessIdentity | None, *, lives: bool
) -> Fate:
    """What has become of one that its engine starts again: ended for good, `down` until then, or running `again`.

    `known` is its first process that has ended, or `lives` and then it is the `same`. `now` is the one that the engine names, if that lives.
    """
    if found.state.status in ENDED:
        return "ended"
    if found.state.status == "restarting":
        return "down"
    if now is not None and now != known:
        return "again"
    return "same" if lives else "unknown"


def code_of(found: Container, held: Held) -> int | None:
    """The exit code of a container that has ended.

    With `unattended_restart` an engine may have started it again before it was asked, and says 0 of what runs now:
    only what it told of the death has the code then. None: it has not come.
    """
    if found.state.status in ENDED or found.state.exit_code:
        return found.state.exit_code
    return held.code


def of_launch(launch: Launch) -> Held:
    """One that is about to be made."""
    target = LogTarget(launch.log.absolute(), launch.log_rules)
    held = Held(launch.instance, launch.workload, target)
    if isinstance(launch, ContainerLaunch):
        held.isolation = described(launch)
    return held


def devices_of(one: Listed) -> dict[str, list[str]]:
    """The nodes that it was given, by the spec's entry."""
    found: dict[str, list[str]] = json.loads(one.labels.get(DEVICES, "{}"))
    return found


def of_listed(instance: str, one: Listed) -> Held:
    """One that an earlier agent has made."""
    return Held(instance, one.labels[WORKLOAD], LogTarget(*log_of(one.labels[LOG])), one.id)
