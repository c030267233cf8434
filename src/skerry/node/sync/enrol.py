"""Becoming a node of a hub: shows the one-time token, keeps the identity that comes back.

Used by `skerry node enroll` and `skerry up` before the agent runs for the first time.
"""

from __future__ import annotations

from pathlib import Path

import aiohttp

from skerry.kit.disk import Disk
from skerry.kit.errors import Refused, Transient
from skerry.node.identity import Identity, read_identity, write_identity
from skerry.node.sync.uplink import exchange, read_answer
from skerry.wire.codec import encode
from skerry.wire.sync import Enrol, Enrolled

_IDENTITY_BYTES = 64 * 1024
"""More than identity, secret and their directory entries take."""


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
    _check_room(data_dir, disk)
    hub_url = hub_url.rstrip("/")
    try:
        answer = await exchange(session, f"{hub_url}/enrol/v1", encode(request), {}, what="enrol")
    except Transient as error:
        raise Transient(f"{error}. Is the hub running, and is its address right?") from error
    enrolled = read_answer(answer, Enrolled, "enrol")
    identity = Identity(enrolled.node_id, enrolled.name, request.labels, hub_url, enrolled.hub_id)
    write_identity(data_dir, identity, enrolled.secret, disk)
    return identity


def _check_room(data_dir: Path, disk: Disk) -> None:
    """The token is spent when the hub has answered, so what comes back must find its place."""
    probe = data_dir / "enrol.probe"
    try:
        disk.write_atomic("enrol.probe", probe, bytes(_IDENTITY_BYTES))
        disk.unlink("enrol.probe", probe)
    except OSError as error:
        raise Refused(
            f"cannot enrol: cannot write to {data_dir}: {error.strerror}. The token can still be used."
        ) from error
