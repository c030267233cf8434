"""`skerry exec`: a command in a workload, on any node through the hub or on the node here. See docs/operate/developer-access.md."""

from __future__ import annotations

import asyncio
import contextlib
import os
from contextlib import AbstractAsyncContextManager
from typing import Annotated
from urllib.parse import quote

import aiohttp
import typer

from skerry.cli.session import Session, remote_text
from skerry.cli.standard_streams import raw_terminal, read_input, window_size, write_all
from skerry.cli.tunnels import heard, open_at_hub, open_here
from skerry.core.execution_rules import checked, exit_code
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.wire.codec import decode, encode
from skerry.wire.executions import ENDED, RESIZED, STDERR, STDIN, Ending, Wish
from skerry.wire.link import Bytes, Close, End, to_frame, to_text

_VERB = "run a command in a workload"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("exec")(execute)


@remote_text
async def execute(  # noqa: PLR0913 - one parameter for each option
    session: Session,
    *,
    node: Annotated[str, typer.Argument(help="The node's name; left out with --here.")],
    workload: Annotated[str, typer.Argument(help="The workload's name.")],
    command: Annotated[
        list[str] | None, typer.Argument(help="After «--»: the command and its arguments.")
    ] = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", "-i", help="Pass on what is written here.")
    ] = False,
    terminal: Annotated[
        bool, typer.Option("--tty", "-t", help="Give it a terminal of its own.")
    ] = False,
    here: Annotated[
        bool,
        typer.Option(
            "--here",
            help="On the node here, without the hub: skerry exec --here WORKLOAD -- COMMAND.",
        ),
    ] = False,
) -> None:
    """Run a command in a workload, confined as the workload is; ends with its exit code."""
    words = [*([workload] if here else []), *(command or [])]
    if terminal and stdin and not os.isatty(0):
        raise InvalidInput("cannot use -t: stdin is no terminal. Leave it out, or use -i alone.")
    size, term = window_size(), os.environ.get("TERM", "")  # noqa: TID251 - of the terminal, as every program reads it
    wish = checked(Wish(words, stdin, terminal, size, term))
    async with _opened(session, node, workload, wish, here=here) as socket:
        ending = await _Conversation(socket, wish).run()
    raise typer.Exit(exit_code(ending))


def _opened(
    session: Session, node: str, workload: str, wish: Wish, *, here: bool
) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
    first = encode(wish).decode()
    if here:
        return open_here(session, f"/v1/exec/{quote(node, safe='')}", _VERB, first)
    path = f"/api/v1/nodes/{quote(node, safe='')}/exec/{quote(workload, safe='')}"
    return open_at_hub(session, path, _VERB, first)


class _Conversation:
    """Between this process's streams and a command's."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, wish: Wish) -> None:
        self._socket = socket
        self._wish = wish
        self._resized = asyncio.Event()

    async def run(self) -> Ending:
        """Returns when the command has ended and all that it printed is written."""
        with contextlib.ExitStack() as stack:
            if self._wish.tty and self._wish.stdin:
                stack.enter_context(raw_terminal(self._resized.set))
            ways = [asyncio.ensure_future(self._down()), asyncio.ensure_future(self._up())]
            if self._wish.tty:
                ways.append(asyncio.ensure_future(self._tell_size()))
            try:
                return await ways[0] or Ending()
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)

    async def _down(self) -> Ending | None:
        ending: Ending | None = None
        while True:
            match await heard(self._socket):
                case Bytes(data=data, stream=stream) if stream == ENDED:
                    ending = decode(data, Ending, "the end of a command")
                case Bytes(data=data, stream=stream):
                    await write_all(2 if stream == STDERR else 1, data)
                case Close(_, words) if ending is None:
                    raise Refused(
                        words or "cannot say how the command ended: the node does not tell"
                    )
                case Close():
                    return ending
                case None if ending is not None:
                    return ending
                case None:
                    raise Transient("the command was cut off: the hub, or the way to it, is gone")
                case _:
                    pass

    async def _up(self) -> None:
        with contextlib.suppress(ConnectionError):  # `_down` says why it has ended
            if self._wish.stdin:
                while data := await read_input():
                    await self._socket.send_bytes(to_frame(Bytes(0, data, STDIN)))
            if not self._wish.tty:
                await self._socket.send_str(to_text(End(0)))

    async def _tell_size(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._resized.wait()
                self._resized.clear()
                await self._socket.send_bytes(to_frame(Bytes(0, encode(window_size()), RESIZED)))
