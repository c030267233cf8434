"""Builds the containers' room. Imported when the first container is wanted, so that other nodes do not pay for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from skerry.core.names import DEVICES_OWN
from skerry.kit.bell import Bell
from skerry.node.contracts.cyberwave_pulls import pull_line
from skerry.node.contracts.native import log_path, log_rules
from skerry.node.host import Host
from skerry.node.node_settings import NodeSettings
from skerry.node.secrets.on_demand import SecretsOnDemand
from skerry.node.workloads.runtimes.containers.credentials import registry_auth
from skerry.node.workloads.runtimes.containers.devices import Devices
from skerry.node.workloads.runtimes.containers.engine import Engine
from skerry.node.workloads.runtimes.containers.hotplug import listen
from skerry.node.workloads.runtimes.containers.images import Images, PullNews, Voice
from skerry.node.workloads.runtimes.containers.maker import Maker
from skerry.node.workloads.runtimes.containers.output import ContainerLogs, LogTarget
from skerry.node.workloads.runtimes.containers.room import ContainerRoom
from skerry.node.workloads.runtimes.containers.runtime import ContainerRuntime
from skerry.node.workloads.runtimes.containers.usb import SYS
from skerry.wire.records import Meta
from skerry.wire.workload import Assignment


def open_room(
    settings: NodeSettings,
    host: Host,
    owner: str,
    announce: Callable[[str, str, Meta], Awaitable[None]],
    changed: Bell,
    secrets: SecretsOnDemand,
) -> ContainerRoom:
    """The room of the node in `settings.data_dir`, whose containers have the mark `owner`."""
    clock, chance = host.clock, host.chance
    logs = ContainerLogs(clock, secrets.masked)
    engine = Engine(settings.engine_sockets)
    images = Images(
        engine,
        Voice(partial(_say, logs, settings), announce, partial(_tell, logs, settings)),
        partial(registry_auth, settings.containers.registries, secrets.value),
        changed,
        clock,
        chance,
    )
    devices = Devices(SYS, listen, changed)
    profile = settings.run_dir.absolute() / "strict-seccomp.json"
    maker = Maker(engine, owner, devices, [settings.data_dir], profile, host.disk)
    runtime = ContainerRuntime(engine, logs, maker, images, clock, chance)
    return ContainerRoom(runtime, images, devices, logs)


def _say(logs: ContainerLogs, settings: NodeSettings, assignment: Assignment, line: str) -> None:
    if not _has_words_of_its_own(assignment):
        _note(logs, settings, assignment, line)


def _tell(
    logs: ContainerLogs, settings: NodeSettings, assignment: Assignment, news: PullNews
) -> None:
    if _has_words_of_its_own(assignment):
        _note(logs, settings, assignment, pull_line(news.stage, news.image, news.text))


def _has_words_of_its_own(assignment: Assignment) -> bool:
    return assignment.workload.startswith(DEVICES_OWN) and bool(assignment.local.recipe)


def _note(logs: ContainerLogs, settings: NodeSettings, assignment: Assignment, line: str) -> None:
    path = log_path(settings.data_dir, assignment.workload)
    logs.note(LogTarget(path, log_rules(assignment.spec.logs, {})), line)
