"""What the agent and the keeper say of an instance: launches as fields of requests, events as exits."""

from __future__ import annotations

from msgspec.structs import replace

from skerry.keeper.protocol import Fields, Message
from skerry.node.ports import Launch, ProcessLaunch
from skerry.node.workloads.runtimes.isolation import Prepared
from skerry.node.workloads.runtimes.orphans import Held
from skerry.wire.workload import Exit


def held_of(launch: Launch) -> Held:
    """What is held of an instance that is about to be made."""
    log_path = launch.log.absolute()
    return Held(launch.instance, launch.workload, log_path, launch.log_rules)


def _log_fields(held: Held) -> list[tuple[str, object]]:
    return [
        ("instance", held.instance),
        ("workload", held.workload),
        ("log", held.log),
        *held.log_rules.fields(),
        ("isolation", held.isolation),
    ]


def adopt_fields(held: Held) -> Fields:
    """Without an identity (pid 0) the keeper can only say whether it has the instance itself."""
    pid, start = (held.identity.pid, held.identity.start_time) if held.identity else (0, 0)
    return [*_log_fields(held), ("pid", pid), ("start", start)]


def spawn_fields(launch: ProcessLaunch, prepared: Prepared) -> Fields:
    """Those of «spawn»."""
    environment = launch.environment | {"SKERRY_INSTANCE": launch.instance}
    return [
        *_log_fields(replace(held_of(launch), isolation=prepared.words)),
        ("directory", launch.directory.absolute()),
        *(("arg", word) for word in launch.command),
        *(("env", f"{name}={value}") for name, value in environment.items()),
        *(("limit", f"{name}={value}") for name, value in launch.limits.items()),
        *([("sockets", launch.sockets)] if launch.sockets else []),
        *prepared.fields,
    ]


def exit_of(message: Message) -> Exit:
    """What an event «exited» tells."""
    code = message.number("code") if message.get("code") is not None else None
    number = message.number("signal") if message.get("signal") is not None else None
    return Exit(code, number, message.number("at"), message.get("reason") or "")
