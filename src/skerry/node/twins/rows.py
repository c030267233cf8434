"""The twins that this device serves, with their assets and their environment: shared rows, so they are there without a hub.

A node shares the twins of one environment, all of them, because which it serves is a field of theirs; what it keeps in
memory are those. Their rows' bodies are Cyberwave's, in whatever shape their writers gave them: `core.cyberwave` reads them.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence

import msgspec

from skerry.core.cyberwave import linking, schemas
from skerry.core.cyberwave.names import is_uuid
from skerry.core.cyberwave.ownership import twin_fault
from skerry.core.merging.bodies import Body, decoded, encoded
from skerry.kit.bell import Bell, Rings
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.node.store.entity_rows import EntityRows
from skerry.node.store.shared_answers import UNNUMBERED
from skerry.node.store.shared_rows import SharedRows
from skerry.wire.entities import Change, Changes, Declare, EntityRow, Find, Reading
from skerry.wire.shared import Declaration

ASSETS, ENVIRONMENTS = "assets", "environments"

TWINS = Declaration(
    strategy="merge",
    fallback="central_wins",
    fields={"metadata.edge_configs": "edge"},
    priority="high",
)
"""ADR 35: what the device says of itself is its own, everything else belongs to the hub's people."""

CATALOG = Declaration(strategy="merge", fallback="central_wins", priority="high")

_REST = 0.2
"""Seconds between two looks: other entities may change all the time."""

Beside = Callable[[sqlite3.Connection, "Twin"], None]

log = logging.getLogger(__name__)


class Twin(msgspec.Struct, frozen=True):
    """One version of a twin. `revision` changes with it on this node, `rev` is the hub's; `row` is its body as it is stored."""

    uuid: str
    revision: int
    rev: int
    row: bytes
    body: Body

    @property
    def reading(self) -> Reading:
        """For an edit that is made on this version."""
        return Reading(self.revision, self.rev, msgspec.Raw(self.row))


def twins_of(environment: str) -> str:
    """The entity of an environment's twins. Raises InvalidInput for what is no UUID."""
    if not is_uuid(environment):
        raise InvalidInput(
            f"cannot use environment «{environment[:40]}»: that is no UUID, in lower case and with dashes"
        )
    return f"twins_{environment.replace('-', '')}"


class TwinStore:
    """The twins of `environment` that say that the device `fingerprint` serves them.

    `open` comes first, `follow` runs as long as the agent. `changed` rings when one of them, or an asset of theirs, is another.
    """

    def __init__(
        self,
        rows: SharedRows,
        entities: EntityRows,
        environment: str,
        fingerprint: str,
        clock: Clock,
    ) -> None:
        self.entity = twins_of(environment)
        self.fingerprint = fingerprint
        self.changed = Bell()
        self.faults: Sequence[str] = ()
        """What is wrong about their rows, for people."""
        self._environment = environment
        self._rows = rows
        self._entities = entities
        self._clock = clock
        self._twins: Mapping[str, Twin] = {}
        self._assets: Mapping[str, Body] = {}
        self._reading = asyncio.Lock()

    async def open(self) -> None:
        """Shares the entities from now on and reads what is there from before."""
        for entity, declaration in (
            (self.entity, TWINS),
            (ASSETS, CATALOG),
            (ENVIRONMENTS, CATALOG),
        ):
            await self._entities.declare(entity, Declare(declaration))
        await self.read()

    async def follow(self) -> None:
        """Reads again whenever rows may be others."""
        rings = Rings([self._rows.arrived, self._rows.changed])
        while True:
            rings.note()
            await self.read()
            await self._clock.sleep(_REST)
            await rings.next(self._clock)

    def linked(self) -> Sequence[Twin]:
        """Those that this device serves, by their UUIDs."""
        return list(self._twins.values())

    def uuids(self) -> list[str]:
        """Theirs."""
        return list(self._twins)

    def children(self, parent: str) -> Sequence[Twin]:
        """Those of `linked` that are attached to this one."""
        bodies = {uuid: twin.body for uuid, twin in self._twins.items()}
        return [self._twins[uuid] for uuid in linking.children_of(parent, bodies)]

    def twin(self, uuid: str) -> Twin | None:
        """One of `linked`."""
        return self._twins.get(uuid)

    def asset_of(self, twin: Twin) -> Body | None:
        """What one of `linked` is a model of; None: it is not known here."""
        return self._assets.get(_asset(twin.body))

    async def environment(self) -> Body | None:
        """The environment itself, if it is known."""
        found = await self._find(ENVIRONMENTS, Find(ids=[self._environment]))
        return decoded(bytes(found[0].body)) if found else None

    async def edit(
        self, uuid: str, patch: Body, read: Reading | None = None, beside: Beside | None = None
    ) -> None:
        """Changes fields of a twin, of objects in it only the keys that `patch` names; durable when it returns.

        `read`: the version that it was made on, so that the hub judges it against what people did since. `beside` writes more
        in the same transaction, and is given the twin as it is then. Raises NotFound, InvalidInput, TooLarge, Transient, and
        Refused for what the hub would not take.
        """
        change = Change("update", uuid, msgspec.Raw(encoded(patch)), read=read)
        held = self.twin(uuid)

        def write(db: sqlite3.Connection) -> None:
            now = self._now(db, uuid)
            if held is not None:
                self._check(uuid, held.body, now.body)
            if beside is not None:
                beside(db, now)

        await self._entities.change(self.entity, Changes([change]), write)
        await self.read()

    async def revise(self, uuid: str, make: Callable[[Body, int], Body]) -> Twin:
        """One of `linked` becomes all that `make` says of its body and its revision; durable when it returns.

        Raises what `make` raises, NotFound, InvalidInput, TooLarge, Transient, and Refused for what the hub would not take.
        """

        def checked(held: Body, revision: int) -> Body:
            made = make(held, revision)
            self._check(uuid, held, made)
            return made

        await self._entities.revise(self.entity, uuid, checked)
        await self.read()
        twin = self.twin(uuid)
        if twin is None:
            raise NotFound(f"cannot show twin «{uuid}»: it is not this device's any more")
        return twin

    async def read(self) -> None:
        """Takes up what is in the store now."""
        async with self._reading:
            sign = self.fingerprint.encode()
            found = [
                self._twin(row, self._twins.get(row.id))
                for row in await self._all(self.entity)
                if sign in bytes(row.body)
            ]
            linked = [one for one in found if linking.is_linked(one.body, self.fingerprint)]
            twins = {twin.uuid: twin for twin in linked if is_uuid(twin.uuid)}
            wanted = sorted({_asset(twin.body) for twin in twins.values()} - {""})
            rows = await self._find(ASSETS, Find(ids=wanted)) if wanted else []
            assets = {row.id: decoded(bytes(row.body)) for row in rows}
            self._note_faults([*map(_fault, linked), *map(_asset_fault, assets.items())])
            if (twins, assets) != (self._twins, self._assets):
                self._twins, self._assets = twins, assets
                self.changed.ring()

    def _check(self, uuid: str, held: Body, becomes: Body) -> None:
        """Whoever is told that an edit is taken may rely on it."""
        if fault := twin_fault(held, becomes, self.fingerprint):
            raise Refused(f"cannot edit twin {uuid}: {fault}")

    def _note_faults(self, told: Sequence[str]) -> None:
        faults = tuple(filter(None, told))
        for fault in faults:
            if fault not in self.faults:
                log.warning("%s", fault)
        self.faults = faults

    def _now(self, db: sqlite3.Connection, uuid: str) -> Twin:
        held = self._rows.table.row(db, self.entity, uuid)
        if held is None or held.deleted:
            raise NotFound(f"cannot edit twin «{uuid}»: there is none")
        body = self._rows.table.body(self.entity, held)
        rev = UNNUMBERED if held.queued else held.rev
        return Twin(held.id, held.hlc, rev, body, self._body(body))

    def _twin(self, row: EntityRow, held: Twin | None) -> Twin:
        """The row as a twin: that which is `held` already, where it is the same."""
        body = bytes(row.body)
        if held is not None and (held.revision, held.rev, held.row) == (
            row.revision,
            row.rev,
            body,
        ):
            return held
        return Twin(row.id, row.revision, row.rev, body, self._body(body))

    def _body(self, row: bytes) -> Body:
        """A twin that does not say it is of this environment, too: all rows of the entity are."""
        body = decoded(row)
        return (
            body if body.get("environment_uuid") else body | {"environment_uuid": self._environment}
        )

    async def _all(self, entity: str) -> list[EntityRow]:
        return await self._find(entity, Find())

    async def _find(self, entity: str, asked: Find) -> list[EntityRow]:
        rows: list[EntityRow] = []
        while True:
            found = await self._entities.find(entity, asked)
            rows += found.rows
            if not found.next:
                return rows
            asked = msgspec.structs.replace(asked, after=found.next)


def _asset(twin: Body) -> str:
    asset = twin.get("asset_uuid")
    return asset if isinstance(asset, str) else ""


def _fault(twin: Twin) -> str:
    """What is wrong about the row of a twin that says it is this device's; empty: nothing."""
    if not is_uuid(twin.uuid):
        return f"twin «{twin.uuid:.60}» is not served: its id is no UUID, in lower case and with dashes. Make it anew"
    return _misfits(f"twin {twin.uuid}", schemas.misfits(schemas.TWIN, twin.body))


def _asset_fault(asset: tuple[str, Body]) -> str:
    uuid, body = asset
    return _misfits(f"asset {uuid}", schemas.misfits(schemas.ASSET, body))


def _misfits(what: str, fields: Sequence[str]) -> str:
    if not fields:
        return ""
    return f"{what}: its fields {', '.join(fields)} are of a wrong type, so programs see them as missing. Set them right at the hub"
