"""The people of a hub without HTTP, as hub/server.py puts them together."""

from __future__ import annotations

from tests.hub_rig import HubRig

from skerry.hub.access_settings import AccessControlSection
from skerry.hub.trust.people import People

ADMIN_TOKEN = "ab" * 32
PASSWORD = "correct horse battery"


def people_of(hub: HubRig, control: AccessControlSection | None = None) -> People:
    """Another hub process on the same database."""
    return People.of(hub.store, hub.clock, ADMIN_TOKEN, control or AccessControlSection())
