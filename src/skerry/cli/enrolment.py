"""Enrolling the node in a data directory, for `skerry node enroll` and `skerry up`; the node must not run yet."""

from __future__ import annotations

import skerry
from skerry.core.setting_values import without_password
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused
from skerry.node.audit.left_outside import entered
from skerry.node.identity import Identity
from skerry.node.node_settings import NodeSettings
from skerry.node.sync.enrol import enrol
from skerry.node.sync.uplink import open_session
from skerry.wire.sync import Enrol


async def enrol_here(
    settings: NodeSettings, hub_url: str, token: str, *, again: bool = False
) -> Identity:
    """Makes the data directory the home of a node of the hub at `hub_url`. Raises Refused, InvalidInput or Transient.

    `again`: of the node that it was before the hub deleted it.
    """
    if len(token.split()) != 1:
        raise InvalidInput(
            "cannot enrol: what was given holds no token, which is one word. Make one: skerry token create"
        )
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"cannot make directory {settings.data_dir}: {error.strerror}") from error
    request = Enrol(token.strip(), settings.name, settings.labels, skerry.__version__, "")
    disk = RealDisk()
    detail = f"at {without_password(hub_url)}{', again' if again else ''}"
    with entered(settings.data_dir, disk, SystemClock(), "enrol_node", detail) as say:
        async with open_session(ca_file=settings.hub.ca_file) as session:
            identity = await enrol(
                session,
                hub_url,
                request,
                settings.data_dir,
                disk,
                again=again,
                proxies=settings.proxies,
            )
        say(f"{detail}, as «{identity.name}» ({identity.node_id})")
    return identity
