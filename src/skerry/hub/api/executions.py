"""A person's command in a workload of a node: a WebSocket that carries its streams until it ends (`carrying`).

The first message is what is wanted (`wire.executions`), for a URL would show it to every proxy's log. The audit log has
the program, not its arguments, and how it ended. See docs/operate/developer-access.md.
"""

from __future__ import annotations

import asyncio

from litestar import Router, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.params import FromPath
from msgspec.structs import replace

from skerry.core.execution_rules import in_words, program_of, read_wish
from skerry.core.names import name_fault
from skerry.core.roles import may
from skerry.hub.api.auditing import Auditing
from skerry.hub.api.auth import CARRY, Authenticator, find_node
from skerry.hub.api.carrying import Carrying, PersonSocket, say_good_bye
from skerry.hub.api.nodes import GivenClock
from skerry.hub.api.problems import status_of
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.other_hub import FORWARDED
from skerry.hub.trust.api_tokens import ADMINISTRATOR
from skerry.hub.tunnels import Tunnels
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, SkerryError
from skerry.wire.codec import decode
from skerry.wire.executions import ENDED, Ending, Wish

_FIRST_WORDS = 10.0
"""Seconds in which whoever has connected says what is wanted."""


@websocket("/api/v1/nodes/{node:str}/exec/{workload:str}", opt=CARRY)
async def execute_command(  # noqa: PLR0913 - all that takes part
    *,
    socket: PersonSocket,
    node: FromPath[str],
    workload: FromPath[str],
    nodes: NamedDependency[Nodes],
    tunnels: NamedDependency[Tunnels],
    auditing: NamedDependency[Auditing],
    authenticator: NamedDependency[Authenticator],
    clock: GivenClock,
) -> None:
    """Runs a command beside the processes of a workload, through the node's live link."""
    await socket.accept()
    watched = _Watched(clock)
    carrying = Carrying(socket, tunnels.limits, authenticator, clock, watched.hear)
    status, words = 499, "the hub ended"
    try:
        fault = name_fault(workload)
        if fault is not None:
            raise InvalidInput(f"cannot run a command: {fault}")
        node_id = await find_node(socket, nodes, node, "run a command")
        forwarded = FORWARDED in socket.headers
        wish = watched.wish = await _wished(socket, forwarded=forwarded)
        tunnel = await tunnels.execute(node_id, node, workload, wish, forwarded=forwarded)
        await carrying.run(tunnel)
        status, words = 200, ""
    except SkerryError as error:
        status, words = status_of(error), str(error)
    except (WebSocketDisconnect, OSError):  # the person has gone
        status, words = 200, ""
    finally:
        told = f"{watched.in_words()}, {carrying.up} bytes to it, {carrying.down} back"
        await auditing.ended(socket, status, f"{told}; {words}".rstrip("; "))
    await say_good_bye(socket, words)


class _Watched:
    """What the audit log says of one command."""

    def __init__(self, clock: Clock) -> None:
        self.wish: Wish | None = None
        self._clock = clock
        self._begun = clock.monotonic_ns()
        self._ending: Ending | None = None

    def hear(self, data: bytes, stream: int) -> None:
        """What comes from the node."""
        if stream == ENDED:
            self._ending = decode(data, Ending, "end of a command")

    def in_words(self) -> str:
        if self.wish is None:
            return "no program"
        lasted = (self._clock.monotonic_ns() - self._begun) / NS
        person = f"for «{self.wish.by}», "
        return (
            f"{person}program «{program_of(self.wish)}»: {in_words(self._ending)}, {lasted:.0f} s"
        )


async def _wished(socket: PersonSocket, *, forwarded: bool) -> Wish:
    """What is wanted, who wants it, and whether that one may `write`: another hub process says whose word it passes on."""
    try:
        async with asyncio.timeout(_FIRST_WORDS):
            wish = read_wish(await socket.receive_text())
    except TimeoutError as error:
        raise InvalidInput("cannot run a command: nothing was said that could be it") from error
    person, role = socket.user.id, socket.user.role
    if forwarded and person == ADMINISTRATOR and wish.by:
        return wish
    return replace(wish, by=person, writes=role is not None and may(role, "write"))


def execution_routes() -> Router:
    """The route of commands."""
    return Router("/", route_handlers=[execute_command])
