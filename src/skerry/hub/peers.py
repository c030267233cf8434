"""The hub processes of one PostgreSQL as each other sees them: who lives, at which address, who holds which node's link.

`server` joins, beats and leaves; `api` asks. On SQLite a hub has no peers, and all of this is silence.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, delete, select, update

from skerry.core.credentials import secret_hash
from skerry.hub.fleet.agents import Agent
from skerry.hub.store.database_time import database_time
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.notices import Linked, tell
from skerry.hub.store.tables import hub_process, live_link
from skerry.kit.clock import NS
from skerry.kit.errors import Refused

BEAT_EVERY = 5.0
_ALIVE = 20 * NS
"""A process that has not beaten for so long is not asked for anything."""

_KNOWN = 7 * 86_400 * NS
"""For so long nodes are told of an address where a hub has been."""


class Peers:
    """`address` is where the other processes reach this one, `nodes_address` where nodes do, `root` their root's number."""

    def __init__(
        self,
        store: HubStore,
        address: str,
        nodes_address: str,
        admin_token: str,
        root: Callable[[], int] = int,
    ) -> None:
        self._root = root
        self._store = store
        self._me = {
            "id": store.origin,
            "address": address.rstrip("/"),
            "nodes_address": nodes_address.rstrip("/"),
            "token_hash": secret_hash(admin_token),
        }
        self.told: list[str] = []
        """`addresses` as of the last beat, for every hello."""

    async def join(self) -> None:
        """Makes this process known. Raises Refused when a living one has another administrator's token."""
        if self._store.shared:
            await self._store.write(self._join)
            self.told = await self.addresses()

    async def beat(self) -> None:
        """Lives on: to be called every BEAT_EVERY seconds."""
        if self._store.shared:
            await self._store.write(self._write)
            self.told = await self.addresses()

    async def leave(self) -> None:
        """This process ends; its address stays known, because it may come back."""
        if not self._store.shared:
            return
        gone = update(hub_process).where(hub_process.c.id == self._store.origin)
        links = delete(live_link).where(live_link.c.hub == self._store.origin)

        def work(connection: Connection) -> None:
            connection.execute(gone.values(token_hash="", seen_at=hub_process.c.seen_at - _ALIVE))
            connection.execute(links)

        await self._store.write(work)

    async def addresses(self) -> list[str]:
        """Where nodes may find a hub of this fleet, in no order of preference; empty when there is only this one."""
        if not self._store.shared:
            return []
        query = select(hub_process.c.nodes_address).distinct()
        query = query.where(hub_process.c.seen_at > database_time() - _KNOWN)
        found = await self._store.read(lambda connection: connection.execute(query).scalars().all())
        return sorted(found)

    async def linked(self, node_id: str, agent: Agent | None) -> int:
        """The node has its live link here now; returns its turn. A process that holds one of an earlier turn ends that."""
        if not self._store.shared:
            return 0
        run, place = (agent.run, agent.place) if agent else ("", "")

        def work(connection: Connection) -> int:
            turn = connection.execute(select(database_time())).scalar_one()
            row = {"hub": self._store.origin, "turn": turn}
            statement = insert(connection, live_link).values(node_id=node_id, **row)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["node_id"], set_=row, where=live_link.c.turn < turn
                )
            )
            tell(connection, Linked(node_id, turn, run, place))
            return turn

        return await self._store.write(work)

    async def unlinked(self, node_id: str) -> None:
        """The node's link here has ended."""
        if not self._store.shared:
            return
        statement = delete(live_link).where(
            live_link.c.node_id == node_id, live_link.c.hub == self._store.origin
        )
        _ = await self._store.write(lambda connection: connection.execute(statement))

    async def turns_elsewhere(self) -> dict[str, int]:
        """The nodes whose latest link is at another process, and that link's turn."""
        if not self._store.shared:
            return {}
        query = select(live_link.c.node_id, live_link.c.turn).where(
            live_link.c.hub != self._store.origin
        )
        found = await self._store.read(lambda connection: connection.execute(query).all())
        return {each.node_id: each.turn for each in found}

    async def holder(self, node_id: str) -> str | None:
        """The address of the living process that holds the node's link, when it is another than this."""
        if not self._store.shared:
            return None
        query = (
            select(hub_process.c.address)
            .join(live_link, live_link.c.hub == hub_process.c.id)
            .where(
                live_link.c.node_id == node_id,
                hub_process.c.id != self._store.origin,
                hub_process.c.seen_at > database_time() - _ALIVE,
            )
        )
        return await self._store.read(lambda connection: connection.execute(query).scalar())

    def _join(self, connection: Connection) -> None:
        others = select(hub_process.c.address, hub_process.c.token_hash).where(
            hub_process.c.seen_at > database_time() - _ALIVE,
            hub_process.c.address != self._me["address"],
        )
        for other in connection.execute(others):
            if other.token_hash not in {"", self._me["token_hash"]}:
                raise Refused(
                    f"cannot join the hub at {other.address}: its admin.token is another one. All hubs of one "
                    "database need the same: share the data directory, or copy the file."
                )
        self._write(connection)

    def _write(self, connection: Connection) -> None:
        earlier = delete(hub_process).where(
            hub_process.c.address == self._me["address"], hub_process.c.id != self._me["id"]
        )
        connection.execute(earlier)
        row = self._me | {"seen_at": database_time(), "root": self._root()}
        statement = insert(connection, hub_process).values(**row)
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))
