"""Becoming a node of a hub: shows the one-time token, keeps the identity that comes back.

Used by `skerry node enroll` and `skerry up` before the agent runs for the first time.
"""

from __future__ import annotations

from pathlib import Path

import aiohttp

from skerry.kit.disk import Disk
from skerry.kit.errors import Refused, Transient
from skerry.node.identity import Identity, read_identity, write_identity
from skerry.node.sync.uplink import exchange
from skerry.wire.codec import decode, encode
from skerry.wire.sync import Enrol, Enrolled


async def enrol(
    session: aiohttp.ClientSession, hub_url: str, request: Enrol, data_dir: Path, disk: Disk
) -> Identity:
    """Enrols at the hub and keeps the answer in `data_dir`, which exists.

    Raises Refused (enrolled already; token wrong, used or expired; name taken), InvalidInput (name, labels),
    or Transient (hub not reachable), each with the way out.
    """
    known = read_identity(data_dir)
    if known is not None:
        raise Refused(
            f"cannot enrol: this node is «{known.name}» of hub {known.hub_url} already. "
            "Use another data directory for another node."
        )
    hub_url = hub_url.rstrip("/")
    try:
        answer = await exchange(session, f"{hub_url}/enrol/v1", encode(request), {}, what="enrol")
    except Transient as error:
        raise Transient(f"{error}. Is the hub running, and is its address right?") from error
    enrolled = decode(answer, Enrolled, "the hub's answer to enrol")
    identity = Identity(enrolled.node_id, enrolled.name, request.labels, hub_url, enrolled.hub_id)
    write_identity(data_dir, identity, enrolled.secret, disk)
    return identity
