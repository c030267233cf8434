"""Commands beside workloads that people ask for: through the hub, on a channel of the link, or at the admin socket.

Who has a command run, in which workload and by which program is entered into the node's audit log before it begins;
its arguments, which may be secret, are not. A command ends with its channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from skerry.core.audit_entries import Deed
from skerry.core.execution_rules import checked_size, in_words, program_of, read_wish
from skerry.kit.errors import Refused, SkerryError
from skerry.node.access.entering import status_of
from skerry.node.channel_port import ServedChannel
from skerry.node.execution_port import Executing, Execution, NoProgram
from skerry.wire.codec import decode, encode
from skerry.wire.executions import ENDED, RESIZED, STDERR, STDIN, Ending, Size, Wish

MOST = 16
"""Commands at a time on one node."""


class Audit(Protocol):
    """Enters what is done (`audit.desk.AuditDesk`)."""

    async def begun(self, deed: Deed) -> int:
        """Raises Transient: then it must not be done."""
        ...

    async def ended(self, deed: Deed, of: int, status: int) -> None: ...


class Executions:
    """Serves channels of kind «exec», and the admin socket. `held` says why no bytes may travel to the hub, or nothing."""

    def __init__(self, executing: Executing, audit: Audit, held: Callable[[], str]) -> None:
        self._executing = executing
        self._audit = audit
        self._held = held
        self._open = 0

    async def serve(self, channel: ServedChannel) -> None:
        """For the hub, until either end closes. Raises what prevents or ends it."""
        wish = read_wish(channel.arguments.get("wish", ""))
        workload = channel.arguments.get("workload", "")
        held = self._held()
        if held:
            raise Refused(
                f"cannot run a command in workload «{workload}»: only high priority goes over the link now: {held}"
            )
        await channel.accept()  # the hub waits for it, and a container engine may take its time
        deed = Deed("hub", "", "execute", workload, "live link", detail=f"for «{wish.by}», ")
        await self.run(channel, workload, wish, deed)

    async def run(self, channel: ServedChannel, workload: str, wish: Wish, deed: Deed) -> None:
        """On an accepted channel; `deed` says who asks. Raises as `serve`."""
        if self._open >= MOST:
            raise Refused(
                f"cannot run a command in workload «{workload}»: {MOST} run on this node. End one of them."
            )
        deed = replace(deed, detail=f"{deed.detail}program «{program_of(wish)}»")
        self._open += 1
        try:
            await self._entered(channel, workload, wish, deed)
        finally:
            self._open -= 1

    async def _entered(self, channel: ServedChannel, workload: str, wish: Wish, deed: Deed) -> None:
        begun = await self._audit.begun(deed)
        status, words = 200, in_words(None)
        try:
            words = in_words(await self._run(channel, workload, wish))
        except SkerryError as error:
            status, words = status_of(error), str(error)
            raise
        finally:
            await self._audit.ended(replace(deed, detail=f"{deed.detail}: {words}"), begun, status)

    async def _run(self, channel: ServedChannel, workload: str, wish: Wish) -> Ending:
        try:
            execution = await self._executing.begin(workload, wish)
        except NoProgram as error:
            ending = Ending(error.code)
            await channel.send(f"{error}\n".encode(), STDERR)
            await channel.send(encode(ending), ENDED)
            return ending
        try:
            return await _converse(channel, execution)
        finally:
            await execution.close()


async def _converse(channel: ServedChannel, execution: Execution) -> Ending:
    """Until the command has ended and all that it printed is sent. Raises what ends the channel."""

    async def down() -> Ending:
        await execution.output(channel.send)
        ending = await execution.ended()
        await channel.send(encode(ending), ENDED)
        return ending

    output, input_ = asyncio.ensure_future(down()), asyncio.ensure_future(_up(channel, execution))
    try:
        await asyncio.wait([output, input_], return_when=asyncio.FIRST_COMPLETED)
        if not output.done():
            input_.result()  # its end is none of the command's, its failure is
        return await output
    finally:
        for way in (output, input_):
            way.cancel()
        await asyncio.wait([output, input_])


async def _up(channel: ServedChannel, execution: Execution) -> None:
    while (taken := await channel.receive()) is not None:
        data, stream = taken
        if stream == STDIN:
            await execution.input(data)
        elif stream == RESIZED:
            await execution.resize(checked_size(decode(data, Size, "size of a window")))
    await execution.end_input()
