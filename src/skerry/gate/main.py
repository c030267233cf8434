"""The gate's start and its single-threaded loop.

It outlives the agent: clients stay connected and what they publish is written to the journal while no agent is there. Its
own end loses nothing that it has written; clients connect again, and the tokens file says who they are.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import stat
import sys
import time
from collections.abc import Sequence

from skerry.gate.capture import Capture
from skerry.gate.clients import Clients
from skerry.gate.control import Control, Parts
from skerry.gate.door import Door
from skerry.gate.journal import Journal
from skerry.gate.listeners import Listeners, Service, inherited
from skerry.gate.records import NamedTuple
from skerry.gate.room import BESIDE_LARGEST, Room
from skerry.gate.sessions import Sessions
from skerry.gate.splice import Splices
from skerry.gate.surroundings import Surroundings
from skerry.gate.tokens import Tokens
from skerry.gate.topics import Scope
from skerry.gate.voice import Voice
from skerry.keeper.loop import Loop

_USAGE = (
    "usage: python -I -S skerry/gate/__main__.py RUN JOURNAL MQTT_PORT REST_PORT LIMIT LARGEST\n"
)
_AT_BROKER = 32
_AT_AGENT = 64


class Options(NamedTuple):
    """The arguments."""

    run: str
    """The directory of the sockets `control`, `broker` and `rest`, and of `tokens`."""
    journal: str
    """That of the journal, in memory."""
    mqtt_port: int
    rest_port: int
    limit: int
    """How many bytes the journal may hold."""
    largest: int
    """How many bytes one packet may have."""


def main(arguments: Sequence[str]) -> int:
    """Serves until SIGTERM. Closes stdout once it does."""
    try:
        run, journal, *numbers = arguments
        mqtt_port, rest_port, limit, largest = map(int, numbers)
    except ValueError:
        sys.stderr.write(_USAGE)
        return 2
    os.umask(0o077)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    stopping: list[int] = []
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stopping.append(number))
    loop = Loop(time.monotonic)
    loop.watch(wake_read, lambda: os.read(wake_read, 64))
    try:
        gate = _gate(Options(run, journal, mqtt_port, rest_port, limit, largest), loop)
    except OSError as error:
        sys.stderr.write(f"gate: cannot start: {error}\n")
        return 1
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)
    gc.freeze()
    while not stopping:
        loop.turn()
    gate.journal.close()
    return 0


def _gate(options: Options, loop: Loop) -> Parts:
    """Everything, listening. Raises OSError."""
    _own_directory(options.journal)
    journal = Journal(
        options.journal,
        os.urandom(16),
        options.limit,
        (time.time_ns, time.monotonic_ns),  # noqa: TID251 - the only clocks here
    )
    capture = Capture(journal)
    capture.on_full = _say_full
    tokens = Tokens()
    path = f"{options.run}/tokens"
    try:
        tokens.load(path)
    except FileNotFoundError:
        pass  # the agent has not written it yet, and will say when it has
    except ValueError as error:
        sys.stderr.write(
            f"gate: nobody is let in until the agent has written {path} anew: {error}\n"
        )
    broker = Door(f"{options.run}/broker", loop, time.monotonic, _AT_BROKER)
    room = Room(options.largest + BESIDE_LARGEST, loop)
    sessions = Sessions(time.monotonic)
    clients = Clients(
        Surroundings(loop, tokens, capture, broker, room, sessions, options.largest),
        time.monotonic,
    )
    agent = Door(f"{options.run}/rest", loop, time.monotonic, _AT_AGENT)
    splices = Splices(loop, agent, time.monotonic, tokens)
    listeners = Listeners(
        loop,
        [
            Service(options.mqtt_port, clients.welcome),
            Service(options.rest_port, splices.welcome),
        ],
        inherited(os.environ, os.getpid()),  # noqa: TID251 - how a process is told of its sockets
    )
    parts = Parts(tokens, clients, capture, journal, Voice(loop, broker), listeners)
    Control(f"{options.run}/control", loop, parts)
    return parts


def _say_full(scope: Scope) -> None:
    sys.stderr.write(
        f"gate: «{scope.workload or scope.number}» publishes more than the agent stores, and its share of the journal is "
        "full: samples of it are left out and counted, the rest waits or is refused\n"
    )


def _own_directory(path: str) -> None:
    """In /dev/shm everybody may make a directory: it has to be ours alone. Raises OSError."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{path} is no directory of this user alone; remove it")
