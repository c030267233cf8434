"""Hands commands of the hub's people to the drivers of this device's twins and to the workers of its workflows, and hears what they answer.

Each is published once (`addressing`). On `{prefix}cyberwave/twin/<twin>/command` a driver answers at the topic that the request
names (`twin.command_response.v1`), which no other request has, or, as older ones do, on the same topic with a message
that has «status»: that is of the longest waiting command of that name. Of a navigation and a mission it tells the status. One
that does not answer has been told; of all else nothing is to be answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from skerry.core.merging.bodies import Body, decoded
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.node.twin_ports import Ask, NotSaid, Told
from skerry.node.twins.addressing import COMMAND, Addressed, addressed
from skerry.wire.codec import encode
from skerry.wire.devices import MAX_REPLY, Command

LISTENS_WITHIN = 15.0
"""Seconds for which a command waits for somebody to listen: drivers restart, and so do broker and gate."""

ANSWERS_WITHIN = 30.0
"""Seconds for which an answer is waited for."""

LONGEST_ANSWER = 256 * 1024
"""Bytes of an answer that are read; JSON may take thirty times its length in memory."""

_AGAIN = 0.5
_REFUSALS = frozenset({"rejected", "denied", "timeout", "error", "failed"})
_AGREEMENTS = frozenset(
    {"accepted", "ok", "queued", "running", "in_progress", "started", "completed"}
)


class _Waiting(msgspec.Struct, frozen=True):
    """A command that was handed over."""

    asked: Addressed
    response: str
    answer: asyncio.Future[bytes]


class TwinCommands:
    """`serves` says whether a twin is linked to this device, `runs` whether a workflow is one of its own, `prefix` what topics begin with.

    `heard` is to be called with every message on a twin's command and status topics.
    """

    def __init__(
        self,
        ask: Ask,
        serves: Callable[[str], bool],
        runs: Callable[[str], bool],
        prefix: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._ask = ask
        self._serves = serves
        self._runs = runs
        self._prefix = prefix
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}

    async def give(self, order: Command) -> Told:
        """Returns when it is answered, or will not be. Raises InvalidInput, Refused: then it was not handed over, or nobody knows."""
        asked = addressed(order, self._clock.wall_ns())
        if asked.twin and not self._serves(asked.twin):
            raise Refused(
                f"cannot command {asked.who}: it is not linked to this device. Nothing was done."
            )
        if asked.workflow and not self._runs(asked.workflow):
            raise Refused(
                f"cannot {asked.name} {asked.who}: it is none of this device's environment and twins. Nothing was done."
            )
        topic = self._prefix() + asked.topic
        response = f"{topic}/skerry-{order.id}/response"
        waiting = _Waiting(asked, response, asyncio.get_running_loop().create_future())
        self._waiting[order.id] = waiting
        try:
            await self._hand_over(topic, encode(asked.message), waiting)
            return await self._answer(waiting)
        finally:
            del self._waiting[order.id]

    def heard(self, twin: str, topic: str, payload: bytes) -> None:
        """A client of this device has published it on a command topic of the twin, or below, or on a status topic."""
        found = next((each for each in self._waiting.values() if each.response == topic), None)
        if found is None:
            found = self._answered(twin, topic.removeprefix(self._prefix()), payload)
        if found is not None and not found.answer.done():
            found.answer.set_result(payload)

    def _answered(self, twin: str, topic: str, payload: bytes) -> _Waiting | None:
        """Whose answer it is where that stands in the message."""
        is_command = topic == f"cyberwave/twin/{twin}/{COMMAND}"
        mine = [
            one
            for one in self._waiting.values()
            if not one.answer.done()
            and topic == (one.asked.topic if is_command else one.asked.status)
        ]
        said = _object(payload) if mine else None
        if said is None or "status" not in said:
            return None
        if is_command:
            its = (one for one in mine if said.get("command", one.asked.name) == one.asked.name)
        else:
            its = (one for one in mine if one.asked.is_answered_by(said))
        return next(its, None)

    async def _hand_over(self, topic: str, payload: bytes, waiting: _Waiting) -> None:
        """Nobody has heard a command that found no listener, so it may be said again."""
        until = self._clock.monotonic_ns() + int(LISTENS_WITHIN * NS)
        asked = waiting.asked
        while True:
            words = asked.nobody
            try:
                if await self._ask.ask(topic, payload, waiting.response):
                    return
            except NotSaid as error:
                words = str(error)
            except Transient as error:
                raise Refused(
                    f"cannot say whether {asked.who} was told to {asked.name}: {error}. It is not told again."
                ) from error
            if self._clock.monotonic_ns() >= until:
                raise Refused(
                    f"cannot command {asked.who}: {words}, for {LISTENS_WITHIN:.0f} s. Nothing was done."
                )
            await self._clock.sleep(_AGAIN)

    async def _answer(self, waiting: _Waiting) -> Told:
        asked = waiting.asked
        if asked.workflow:
            execution = asked.message["execution_uuid"]
            return Told("its worker was told", encode({"execution_uuid": execution}).decode())
        if not asked.topic.endswith(f"{asked.twin}/{COMMAND}") and not asked.status:
            return Told("its driver was told")
        late = asyncio.ensure_future(self._clock.sleep(ANSWERS_WITHIN))
        either: set[asyncio.Future[Any]] = {late, waiting.answer}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
        if waiting.answer.done():
            return _told(waiting.answer.result())
        return Told(f"its driver was told, and has not answered for {ANSWERS_WITHIN:.0f} s")


def _told(answer: bytes) -> Told:
    if len(answer) > LONGEST_ANSWER:
        return Told(f"its driver answered with {len(answer)} bytes, which are too many to be read")
    said = _object(answer)
    if said is None:
        return Told(f"its driver answered with {len(answer)} bytes that are no JSON object")
    status = str(said.get("status"))
    # Its own words stay in the reply, which is sealed wherever it lies.
    words = status if status in _REFUSALS | _AGREEMENTS else "its driver has answered"
    reply = encode(said).decode()
    if len(reply) > MAX_REPLY:
        words, reply = f"{words}; its answer of {len(answer)} bytes is not kept", ""
    return Told(words, reply, failed=status in _REFUSALS)


def _object(payload: bytes) -> Body | None:
    if len(payload) > LONGEST_ANSWER:
        return None
    try:
        return decoded(payload)
    except InvalidInput:
        return None
