"""Hands commands of the hub's people to the drivers of this device's twins, and hears what they answer.

A command is published once on `{prefix}cyberwave/twin/<twin>/command`. A driver answers at the topic that the request
names (`twin.command_response.v1`), which no other request has, or, as older ones do, on the same topic with a message
that has «status»: that is of the longest waiting command of that name. One that answers neither way has been told.
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
from skerry.wire.codec import encode
from skerry.wire.devices import MAX_REPLY, Command

LISTENS_WITHIN = 15.0
"""Seconds for which a command waits for somebody to listen: drivers restart, and so do broker and gate."""

ANSWERS_WITHIN = 30.0
"""Seconds for which an answer is waited for."""

_AGAIN = 0.5
_REFUSALS = frozenset({"rejected", "denied", "timeout", "error", "failed"})
_AGREEMENTS = frozenset({"accepted", "ok"})


class _Waiting(msgspec.Struct, frozen=True):
    """A command that was handed over."""

    twin: str
    name: str
    response: str
    answer: asyncio.Future[bytes]


class TwinCommands:
    """`serves` says whether a twin is linked to this device, `prefix` what its topics begin with.

    `heard` is to be called with every message on a twin's command topics.
    """

    def __init__(
        self, ask: Ask, serves: Callable[[str], bool], prefix: Callable[[], str], clock: Clock
    ) -> None:
        self._ask = ask
        self._serves = serves
        self._prefix = prefix
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}

    async def give(self, order: Command) -> Told:
        """Returns when the driver has answered, or will not. Raises InvalidInput, Refused: then it was not handed over, or nobody knows."""
        message = _message(order, self._clock)
        if not self._serves(order.twin):
            raise Refused(
                f"cannot command twin {order.twin}: it is not linked to this device. Nothing was done."
            )
        topic = f"{self._prefix()}cyberwave/twin/{order.twin}/command"
        waiting = _Waiting(
            order.twin,
            str(message["command"]),
            f"{topic}/skerry-{order.id}/response",
            asyncio.get_running_loop().create_future(),
        )
        self._waiting[order.id] = waiting
        try:
            await self._hand_over(topic, encode(message), waiting)
            return await self._answer(waiting)
        finally:
            del self._waiting[order.id]

    def heard(self, twin: str, topic: str, payload: bytes) -> None:
        """A client of this device has published it on a command topic of the twin, or below."""
        found = next((each for each in self._waiting.values() if each.response == topic), None)
        if found is None and topic == f"{self._prefix()}cyberwave/twin/{twin}/command":
            found = self._of_older_driver(twin, payload)
        if found is not None and not found.answer.done():
            found.answer.set_result(payload)

    def _of_older_driver(self, twin: str, payload: bytes) -> _Waiting | None:
        mine = [one for one in self._waiting.values() if one.twin == twin and not one.answer.done()]
        said = _object(payload) if mine else None
        if said is None or "status" not in said:
            return None
        return next((one for one in mine if said.get("command", one.name) == one.name), None)

    async def _hand_over(self, topic: str, payload: bytes, waiting: _Waiting) -> None:
        """Nobody has heard a command that found no listener, so it may be said again."""
        until = self._clock.monotonic_ns() + int(LISTENS_WITHIN * NS)
        while True:
            words = "no driver listens to its commands"
            try:
                if await self._ask.ask(topic, payload, waiting.response):
                    return
            except NotSaid as error:
                words = str(error)
            except Transient as error:
                raise Refused(
                    f"cannot say whether twin {waiting.twin} was told to {waiting.name}: {error}. It is not told again."
                ) from error
            if self._clock.monotonic_ns() >= until:
                raise Refused(
                    f"cannot command twin {waiting.twin}: {words}, for {LISTENS_WITHIN:.0f} s. Nothing was done."
                )
            await self._clock.sleep(_AGAIN)

    async def _answer(self, waiting: _Waiting) -> Told:
        late = asyncio.ensure_future(self._clock.sleep(ANSWERS_WITHIN))
        either: set[asyncio.Future[Any]] = {late, waiting.answer}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
        if waiting.answer.done():
            return _told(waiting.answer.result())
        return Told(f"its driver was told, and has not answered for {ANSWERS_WITHIN:.0f} s")


def _message(order: Command, clock: Clock) -> Body:
    """What the driver is told, with what it may expect to be there."""
    given = decoded(bytes(order.payload))
    if not isinstance(given.get("command"), str) or not given["command"]:
        raise InvalidInput(f"cannot command twin {order.twin}: the message names no «command»")
    if "status" in given:
        raise InvalidInput(
            f"cannot command twin {order.twin}: a message with «status» is an answer, which drivers do not obey"
        )
    return {"source_type": "tele", "data": {}, "timestamp": clock.wall_ns() / NS, **given}


def _told(answer: bytes) -> Told:
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
    try:
        return decoded(payload)
    except InvalidInput:
        return None
