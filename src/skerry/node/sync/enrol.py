"""Becoming a node of a hub: shows the one-time token, keeps the identity that comes back.

Used by `skerry node enroll` and `skerry up` before the agent runs for the first time. The secret is made and
kept here before the hub is asked, so a lost answer, a full disk or a kill at any point is healed by asking again
with the same token.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aiohttp
import msgspec

from skerry.core.credentials import random_secret, secret_hash
from skerry.kit.disk import Disk
from skerry.kit.errors import Refused, Transient
from skerry.node.identity import Identity, read_identity, write_identity, write_name
from skerry.node.node_settings import DIRECT, Proxies
from skerry.node.retirement import CERTIFICATE_FILE, refuse_to_begin
from skerry.node.sync.uplink import exchange, read_answer
from skerry.wire.codec import encode
from skerry.wire.sync import Enrol, Enrolled

PENDING_FILE = "enrolling.secret"
"""There from the first try until the identity is kept."""


IS_IT_RUNNING = "Is the hub running, and is its address right?"

Keep = Callable[[Enrolled], None]
"""Keeps what proves the node besides its secret, before the identity is kept. Raises OSError, Refused, InvalidInput."""


def check_unknown(data_dir: Path, *, again: bool) -> Identity | None:
    """What this node was before. Raises Refused when it is enrolled and nobody wants it `again`."""
    over = refuse_to_begin(data_dir)
    if over:
        raise Refused(f"cannot enrol: {over}")
    known = read_identity(data_dir)
    if known is not None and not again:
        raise Refused(
            f"cannot enrol: this node is «{known.name}» of hub {known.hub_url} already. Use another data "
            "directory for another node, or --again if the hub has deleted this one, has withdrawn its key, or gives "
            "certificates only now."
        )
    return known


async def enrol(  # noqa: PLR0913 - to whom, as what, where, and by which way
    session: aiohttp.ClientSession,
    hub_url: str,
    request: Enrol,
    data_dir: Path,
    disk: Disk,
    *,
    again: bool = False,
    proxies: Proxies = DIRECT,
    secret: str = "",
    keep: Keep | None = None,
) -> Identity:
    """Enrols at the hub and keeps the answer in `data_dir`, which exists. The request's secret is made here.

    `again`: the hub has deleted the node that was enrolled here; it becomes the same node with a new secret, or with the
    `secret` that it has, by which a hub that has it still knows it again. `keep`: it proves itself by more than that.

    Raises Refused (enrolled already; token wrong, used or expired; name taken; disk), InvalidInput (name, labels),
    or Transient (hub not reachable), each with the way out.
    """
    known = check_unknown(data_dir, again=again)
    former_id = known.node_id if known else ""
    hub_url = hub_url.rstrip("/")
    pending = data_dir / PENDING_FILE
    try:
        proof = secret or _pending_secret(pending, disk)
        asked = msgspec.structs.replace(
            request, secret_hash=secret_hash(proof), former_id=former_id, secret=proof
        )
        enrolled = await _ask(session, hub_url, asked, proxies)
        identity = Identity(
            enrolled.node_id, enrolled.name, request.labels, hub_url, enrolled.hub_id, enrolled.hubs,
            certificate=keep is not None,
        )  # fmt: skip
        if keep is not None:
            keep(enrolled)
        if secret:
            write_name(data_dir, identity, disk)
        else:
            write_identity(data_dir, identity, proof, disk)
        disk.unlink("enrol.done", pending)
        disk.unlink("enrol.done", data_dir / CERTIFICATE_FILE)
    except OSError as error:
        raise Refused(
            f"cannot enrol: cannot write to {data_dir}: {error.strerror}. "
            "Make room and try again with the same token."
        ) from error
    return identity


async def _ask(
    session: aiohttp.ClientSession, hub_url: str, request: Enrol, proxies: Proxies
) -> Enrolled:
    url = f"{hub_url}/enrol/v1"
    try:
        answer = await exchange(session, url, encode(request), {}, what="enrol", proxies=proxies)
    except Transient as error:
        raise Transient(f"{error}. {IS_IT_RUNNING}") from error
    return read_answer(answer, Enrolled, "enrol")


def _pending_secret(path: Path, disk: Disk) -> str:
    """The secret of a try whose answer never came, or a new one."""
    if path.exists():
        return path.read_text().strip()
    secret = random_secret()
    disk.write_atomic("enrol.pending", path, f"{secret}\n".encode())
    return secret
