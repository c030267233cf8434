"""Secrets as people set, see and delete them: never their values. docs/reference/secrets.md."""

from __future__ import annotations

import builtins

from sqlalchemy import Connection, delete

from skerry.core.names import name_fault
from skerry.core.secrets import names_used
from skerry.core.spec_rules import selector_problems
from skerry.hub.fleet.assignments import read_assignments, read_nodes, read_workloads
from skerry.hub.fleet.safe import Safe
from skerry.hub.fleet.sealing import HeldSecret, Kept, read_secrets, value_of, write_secret
from skerry.hub.fleet.workloads import Workloads
from skerry.hub.store import locks
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, secret
from skerry.kit.clock import Clock
from skerry.kit.errors import Corrupt, InvalidInput, NotFound, Refused
from skerry.kit.ids import uuid7
from skerry.kit.nearest import did_you_mean
from skerry.wire.secret_views import MAX_VALUE, SecretPut, SecretView
from skerry.wire.workload import Selector


class Secrets:
    """A new value reaches the workloads that name it as a change of their own does: in waves, where they have some."""

    def __init__(self, store: HubStore, workloads: Workloads, safe: Safe, clock: Clock) -> None:
        self._store = store
        self._workloads = workloads
        self._safe = safe
        self._clock = clock

    async def set(self, name: str, put: SecretPut, by: str) -> SecretView:
        """A new version, whatever the value was. Raises InvalidInput, Refused."""
        if faults := _faults(name, put):
            raise InvalidInput(f"cannot set secret «{name}»: {'; '.join(faults)}")

        def work(connection: Connection) -> frozenset[str]:
            held = read_secrets(connection).get(name)
            on = put.on or (held.kept.on if held is not None else Selector())
            version, now = (1 if held is None else held.version + 1), self._clock.wall_ns()
            kept = Kept(on, put.value, locked=False)
            new = HeldSecret(name, version, uuid7(self._clock), now, by, kept)
            try:
                write_secret(connection, self._safe, new)
            except OSError as error:
                raise Refused(f"cannot set secret «{name}»: {error.strerror}") from error
            return frozenset(_users(connection, name))

        await self._workloads.hear_of(work)
        [view] = await self.list(name)
        return view

    async def list(self, name: str | None = None) -> builtins.list[SecretView]:
        """All secrets, or the one of this name (else NotFound)."""
        return await self._store.read(lambda connection: self._views(connection, name))

    async def delete(self, name: str) -> None:
        """Raises NotFound, or Refused when a workload names it."""

        def work(connection: Connection) -> None:
            locks.of_fleet(connection)
            _must_exist(name, builtins.list(read_secrets(connection)), "delete")
            if users := _users(connection, name):
                raise Refused(
                    f"cannot delete secret «{name}»: {', '.join(users)} need it. Change or delete them first."
                )
            connection.execute(
                delete(secret).where(secret.c.fleet_id == FLEET, secret.c.name == name)
            )

        await self._store.write(work)

    def _views(self, connection: Connection, name: str | None) -> builtins.list[SecretView]:
        held = read_secrets(connection)
        if name is not None:
            _must_exist(name, builtins.list(held), "show")
            held = {name: held[name]}
        users: dict[str, builtins.list[str]] = {}
        for workload, wish in read_workloads(connection).items():
            for used in names_used(wish.spec):
                users.setdefault(used, []).append(workload)
        where = _where(connection)
        return [
            SecretView(
                each.name,
                each.version,
                each.kept.on,
                each.set_at,
                each.set_by,
                users.get(each.name, []),
                sorted(where.get(each.id, ())),
                self._problem(each),
            )
            for each in held.values()
        ]

    def _problem(self, held: HeldSecret) -> str:
        try:
            value_of(self._safe, held)
        except (Corrupt, Refused) as error:
            return f"the hub cannot read it: {error}. Set it again."
        return ""


def _faults(name: str, put: SecretPut) -> list[str]:
    faults = [name_fault(name) or ""]
    if not put.value:
        faults.append("it is empty")
    if len(put.value) > MAX_VALUE:
        faults.append(f"it has {len(put.value)} bytes, at most {MAX_VALUE} are kept")
    if put.on is not None:
        faults += [problem.sentence for problem in selector_problems(put.on)]
    return [fault for fault in faults if fault]


def _users(connection: Connection, name: str) -> list[str]:
    workloads = read_workloads(connection)
    return [each for each, wish in workloads.items() if name in names_used(wish.spec)]


def _where(connection: Connection) -> dict[str, set[str]]:
    """By the id of a value, the names of the nodes that it is sealed to."""
    names = {node.id: node.name for node in read_nodes(connection)}
    found: dict[str, set[str]] = {}
    for place, assignment in read_assignments(connection).items():
        for each in assignment.secrets:
            if each.sealed and place.node in names:
                found.setdefault(each.id, set()).add(names[place.node])
    return found


def _must_exist(name: str, known: list[str], verb: str) -> None:
    if name not in known:
        hint = did_you_mean(name, known) if known else "there are none yet"
        raise NotFound(f"cannot {verb} secret «{name}»: it does not exist; {hint}")
