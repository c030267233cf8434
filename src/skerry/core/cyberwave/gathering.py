"""A batch of captured messages, sorted into what the store takes at once. Pure but for what `Thinning` remembers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from skerry.core.cyberwave.intake import (
    Content,
    Health,
    Kept,
    Ping,
    Reply,
    Rules,
    intake,
    name_of,
    progress_of,
)
from skerry.core.cyberwave.thinning import Thinning
from skerry.wire.records import SPARSE_SESSION, Kind, Meta, Record
from skerry.wire.sync import Lane

FULL = "the node is full"
SHARE_FULL = "the publisher's share of the node is full"
RATE = "more than are kept of a name"
JOURNAL_FULL = "the gate's journal is full"


class Message(NamedTuple):
    """What the gate has captured. `counts`: every one of its topic does, or somebody waits for an acknowledgement. `gap`: it stands for others, and why they were left out."""

    n: int
    wall_ns: int
    monotonic_ns: int
    token: int
    topic: str
    payload: bytes
    counts: bool
    gap: str


class Numbered(NamedTuple):
    """A record whose number is that of its message. `counts`: it is not left out, whatever happens."""

    n: int
    lane: Lane
    record: Record
    counts: bool
    missed: int


class File(NamedTuple):
    """A message that becomes a file."""

    message: Message
    content: Content
    missed: int


class Gathered(msgspec.Struct, frozen=True):
    """By publisher (its token's number) and kind, in the order of their numbers; and what is told on."""

    records: dict[tuple[int, Kind], list[Numbered]]
    files: list[File]
    told: list[tuple[Health | Reply | Ping, Message]]


def session_of(session: str, token: int, kind: Kind) -> str:
    """The publisher session of what becomes of a run of the gate: one for each lane's order, so that numbers only rise."""
    words = f"{session} {token} {kind}"
    return hashlib.blake2b(words.encode(), digest_size=SPARSE_SESSION // 2).hexdigest()


def gathered(
    session: str, messages: Iterable[Message], rules: Rules, thinning: Thinning, now: int
) -> Gathered:
    """What becomes of messages of one run of the gate; `now` is monotonic, in ns."""
    found = Gathered({}, [], [])
    for message in messages:
        if message.gap:
            _put(found, message.token, "gap", _gap(message, rules))
            continue
        taken = intake(message.topic, message.payload, message.wall_ns, rules)
        progress = progress_of(message.topic, rules)
        if progress is not None:
            found.told.append((progress, message))
        if isinstance(taken, Health | Reply | Ping):
            found.told.append((taken, message))
        elif taken is not None:
            missed = _admitted(session, message, taken, thinning, now)
            if missed is None:
                continue
            if isinstance(taken, Content):
                found.files.append(File(message, taken, missed))
            else:
                _put(found, message.token, _kind(taken), _numbered(message, taken, missed))
    return found


def with_missed(meta: Meta, missed: int) -> Meta | None:
    """What stands beside a record of which so many before it were left out."""
    return {**meta, "thinned": missed} if missed else (meta or None)


def _admitted(
    session: str, message: Message, taken: Kept | Content, thinning: Thinning, now: int
) -> int | None:
    """How many were left out before this one; None: it is left out itself."""
    key = (session, message.token, taken.name)
    if not message.counts and not thinning.admits(key, taken.per_second, message.monotonic_ns):
        thinning.miss(key, message.wall_ns, RATE, now)
        return None
    return thinning.told(key)


def _numbered(message: Message, kept: Kept, missed: int) -> Numbered:
    record = Record(0, kept.name, kept.at, kept.value, with_missed(kept.meta, missed))
    return Numbered(message.n, kept.lane, record, message.counts, missed)


def _gap(message: Message, rules: Rules) -> Numbered:
    topic = message.topic.removeprefix(rules.prefix)
    name = name_of(topic) if topic else "cyberwave"
    meta: Meta = {"to": message.wall_ns, "cause": message.gap}
    record = Record(0, name, message.wall_ns, int(message.payload), meta)
    return Numbered(message.n, "event", record, counts=True, missed=0)


def _kind(kept: Kept) -> Kind:
    return "event" if kept.lane == "event" else "measurement"


def _put(found: Gathered, token: int, kind: Kind, numbered: Numbered) -> None:
    found.records.setdefault((token, kind), []).append(numbered)
