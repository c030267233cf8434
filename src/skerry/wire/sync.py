"""What node and hub say to each other: hello, push units, pulls. See docs/reference/sync.md.

A lane is one ordered stream of a node towards the hub. A push unit is keyed (node, incarnation,
lane, n): `n` counts the lane's records (or frozen state units) and is given once. `chain` is a running
hash over everything the lane ever held, so that two histories that share a number but not their
content are told apart.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.wire.trust import TrustBundle

PROTOCOL = 1
"""The version of this module's messages; the hub serves PROTOCOL and the two before it."""

Lane = Literal["state", "event", "keep", "sample", "rows-high", "rows-medium", "rows-low"]
RECORD_LANES: tuple[Lane, ...] = ("event", "keep", "sample")
ROW_LANES: tuple[Lane, ...] = ("rows-high", "rows-medium", "rows-low")
LANES: tuple[Lane, ...] = ("state", *RECORD_LANES, *ROW_LANES)

NO_CHAIN = "0" * 16
"""The chain before a lane's first record."""


class LanePoint(msgspec.Struct, frozen=True, array_like=True):
    """A place in a lane's history: after record `n`, the running hash is `chain` (16 hex digits)."""

    n: int = 0
    chain: str = NO_CHAIN


class Hello(msgspec.Struct, frozen=True):
    """First message of every connection, by the node.

    `run` is a random id of the agent process: by it the hub tells a node that starts anew from two agents with
    one identity. `host` is the machine's name, for people. `trust` is the number of the trust bundle that it has,
    and `trust_digest` that of its roots; nodes of before have none. `fingerprint` is the device's name among Cyberwave's
    twins (empty: it serves none): its rows are judged by it, so it comes before them.
    """

    protocols: tuple[int, int]
    incarnation: str
    version: str
    boot_id: str
    run: str = ""
    host: str = ""
    trust: int = 0
    trust_digest: str = ""
    fingerprint: str = ""


class HelloReply(msgspec.Struct, frozen=True):
    """The hub's answer: what it holds of this node's history, and its time (ns since 1970).

    `backed_up_through` is the number up to which a verified backup of the hub has each lane of this incarnation.
    `double` says where another agent with this node's identity speaks to the hub, if there is one. `hubs` are the
    addresses of this fleet's hubs now, when there may be several. `trust` is the hub's bundle when the node has another one.
    """

    protocol: int
    hub_id: str
    epoch: int
    hub_time: int
    lanes: dict[Lane, LanePoint]
    backed_up_through: dict[Lane, int]
    double: str = ""
    hubs: list[str] = []
    trust: TrustBundle | None = None


class PushUnit(msgspec.Struct, frozen=True):
    """Frames `first`, `first + 1`, … of one lane, as stored on the node.

    `previous` is the chain just before `first`. `skipped` says that the node no longer holds what lies
    between the hub's last record and `first` (thinned samples, or records freed after 7 days).
    A record frame is a `records.Batch` and counts as many as it has records; a state frame is a
    `StateFrame` and counts one, and so does a frame of a row lane, a `shared.EditFrame`.
    """

    incarnation: str
    lane: Lane
    first: int
    previous: str
    boot_id: str
    frames: list[msgspec.Raw]
    skipped: bool = False


def _empty_body() -> msgspec.Raw:
    return msgspec.Raw(b"{}")


def _no_items() -> msgspec.Raw:
    return msgspec.Raw(b"[]")


class StateRow(msgspec.Struct, frozen=True):
    """One version of a state entity's row. `body` is kept as received bytes so that unknown fields survive."""

    entity: str
    id: str
    rev: int
    hlc: int
    origin: str
    deleted: bool = False
    body: msgspec.Raw = msgspec.field(default_factory=_empty_body)


class StateFrame(msgspec.Struct, frozen=True):
    """State rows that a node changed, frozen for sending. `rev` of a row is the hub's revision it was based on."""

    rows: list[StateRow]


class PushReply(msgspec.Struct, frozen=True):
    """The hub's answer to a unit, given after its commit with FULL.

    ok        everything up to `point` is durable at the hub (also the answer to a repeat)
    gap       the unit does not follow `point`; send from there
    diverged  the hub's history of this incarnation is another one: continue as a new incarnation

    `backed_up_through` as in HelloReply, for the unit's lane.
    """

    outcome: Literal["ok", "gap", "diverged"]
    point: LanePoint
    hub_time: int
    backed_up_through: int = 0
    rows: list[StateRow] = []
    """For the state lane: the rows as the hub now has them (revision, and the winner of a conflict)."""
    revs: list[int] = []
    """For row lanes: the revision that each edit of the unit got, over all its frames; where `judged` says otherwise, the row's."""
    judged: msgspec.Raw = msgspec.field(default_factory=_no_items)
    """For row lanes: the edits of the unit after which the row is not simply as they say, a list of `shared.Judged`.

    Not decoded here: nodes that share no rows do not load `wire.shared`.
    """


class Pull(msgspec.Struct, frozen=True):
    """A node asks for changes after `cursor`; `digest` covers the whole set that it holds from the hub.

    `most` is how many bytes of rows it wants in one answer, before compression; 0: as many as the hub gives.
    """

    cursor: str | None
    digest: str
    limit: int = 500
    most: int = 0


class PullReply(msgspec.Struct, frozen=True):
    """Changes in order, as many as one answer carries.

    `full` begins the whole set: these rows, and those of the answers that follow until one has no `more`, are
    all of your scope; then forget every other one. `own` is `core.cursors.set_digest` over what only you write,
    as the hub has it: when it is not what you have, send it again.
    """

    rows: list[StateRow]
    cursor: str
    more: bool
    full: bool
    hub_time: int
    own: str = ""


class Enrol(msgspec.Struct, frozen=True):
    """A new node shows its one-time token and says what it wants to be called.

    It has made its secret already and sends the hash. The same hash means the same node: when an answer was lost,
    the same token brings it again for as long as the token lives. `former_id` is what the node was before the hub
    deleted it: it gets this id again, so that its records go on as the same node's. `csr` (PEM) asks for a certificate;
    `hardware` identifies the machine, for tokens that are good for one only. `secret` proves that a node which the hub
    has already is that node: its hash alone is in backups, too.
    """

    token: str
    name: str
    labels: dict[str, str]
    version: str
    secret_hash: str
    former_id: str = ""
    csr: str = ""
    hardware: str = ""
    secret: str = ""


class Enrolled(msgspec.Struct, frozen=True):
    """The node's identity. `hubs` are the addresses of this fleet's hubs when there may be several.

    `certificate` (PEM, leaf before intermediate) answers a request for one; `trust` are the roots to believe from now on.
    """

    node_id: str
    name: str
    hub_id: str
    hubs: list[str] = []
    certificate: str = ""
    trust: TrustBundle | None = None
