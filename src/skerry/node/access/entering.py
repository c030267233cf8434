"""Enters into the node's audit log what people have the hub open here: begun before it is, and what came of it.

What cannot be entered, because the disk is full, is opened all the same: it is how one gets there to make room, and the
hub has entered it durably before it asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from msgspec.structs import replace

from skerry.core.audit_entries import Deed
from skerry.kit.errors import InvalidInput, NotFound, Refused, SkerryError
from skerry.node.channel_port import ServedChannel

log = logging.getLogger(__name__)

CUT = 503
"""What was cut off has failed, as far as anybody here can say."""


class Audit(Protocol):
    """Enters what is done (`audit.desk.AuditDesk`)."""

    async def begun(self, deed: Deed) -> int:
        """Raises Transient when it cannot be entered."""
        ...

    async def ended(self, deed: Deed, of: int, status: int) -> None: ...

    async def refused(self, deed: Deed, status: int) -> None:
        """Counted when there was an equal one."""
        ...


def deed_of(channel: ServedChannel, action: str, object_: str) -> Deed:
    """What the hub has this node do on the channel, and for whom, as it says."""
    by = channel.arguments.get("by", "")
    return Deed("hub", "", action, object_, "live link", detail=f"for «{by}»" if by else "")


@contextlib.asynccontextmanager
async def entered(
    audit: Audit, deed: Deed, *, when_closed: int, told: Callable[[], str] = lambda: ""
) -> AsyncIterator[None]:
    """What is done in the block. `when_closed` is its status when the hub closes the channel; `told` what the outcome says."""
    begun = await _begun(audit, deed)
    status, words = CUT, ""
    try:
        yield
        status = 200
    except SkerryError as error:
        status, words = status_of(error), str(error)
        raise
    except asyncio.CancelledError:
        status = when_closed
        raise
    finally:
        await audit.ended(said(deed, told(), words), begun, status)


def said(deed: Deed, *words: str) -> Deed:
    """The deed with these words, if there are any, after its own."""
    return replace(deed, detail=", ".join(each for each in (deed.detail, *words) if each))


def status_of(error: SkerryError) -> int:
    """As HTTP would have it; audit logs tell by it what was refused from what failed."""
    match error:
        case InvalidInput():
            return 400
        case NotFound():
            return 404
        case Refused():
            return 409
        case _:
            return 503


async def _begun(audit: Audit, deed: Deed) -> int:
    try:
        return await audit.begun(deed)
    except SkerryError as error:
        log.warning("cannot enter «%s» into the audit log, and do it: %s", deed.action, error)
        return 0
