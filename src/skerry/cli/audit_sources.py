"""Where `skerry audit` reads a log: at the hub, of the hub or of one of its nodes, or in a database on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from skerry.cli.session import Session
from skerry.kit.errors import InvalidInput
from skerry.wire.audit import AuditPage

AT_ONCE = 1000

Pages = Callable[[int, int], Awaitable[AuditPage]]
"""Entries after a number, so many at most."""


@dataclass(frozen=True)
class Source:
    """A log by its name for people, and the way to its entries."""

    where: str
    opened: contextlib.AbstractAsyncContextManager[Pages]


def at_hub(session: Session, path: str = "/api/v1/audit", of: str = "") -> Source:
    """A log that the hub answers with; `of` names the node whose it is."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Pages]:
        async with session.hub() as hub:
            yield lambda after, limit: hub.get(f"{path}?after={after}&limit={limit}", AuditPage)

    hub = session.target.hub
    return Source(f"node «{of}» at {hub}" if of else hub, opened())


def of_node(session: Session, name: str) -> Source:
    """What the hub keeps of a node's log."""
    return at_hub(session, f"/api/v1/nodes/{quote(name, safe='')}/audit", name)


def here(session: Session) -> Source:
    """The log of the node on this machine, whether it runs or not. Raises InvalidInput."""
    from skerry.kit.sqlite_connections import connect
    from skerry.node.settings import database_of, find_settings
    from skerry.node.store.audit_log import page_of

    options = {"data_dir": str(session.target.data_dir.absolute())}
    path = database_of(find_settings(options=options))
    if not path.is_file():
        raise InvalidInput(
            f"cannot read {path}: there is no such file. Has the node ever been started? --data-dir names another one."
        )

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Pages]:
        with contextlib.closing(connect(path, read_only=True)) as database:

            async def pages(after: int, limit: int) -> AuditPage:
                return page_of(database, "", after, limit)

            yield pages

    return Source(str(path), opened())


def in_database(url: str) -> Source:
    """The hub's log in its database, with no hub asked. Raises InvalidInput."""
    from skerry.hub.store.engine import parse_url, reading
    from skerry.hub.trust.audit import page_of

    address = parse_url(url)
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").is_file():
        raise InvalidInput(f"cannot read {address}: there is no such file")

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Pages]:
        with reading(address) as connection:

            async def pages(after: int, limit: int) -> AuditPage:
                return page_of(connection, after, limit)

            yield pages

    return Source(str(address), opened())
