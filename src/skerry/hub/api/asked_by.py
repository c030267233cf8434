"""Whom a request is for that goes on to a node: another hub process may pass it on with the administrator's token."""

from __future__ import annotations

from urllib.parse import unquote

from skerry.hub.api.auth import Connection
from skerry.hub.other_hub import ASKED_BY, FORWARDED
from skerry.hub.trust.api_tokens import ADMINISTRATOR


def asked_by(connection: Connection) -> str:
    """The person who asks, or whom the other hub process names: nobody else is believed about that."""
    person: str = connection.user.id
    if person == ADMINISTRATOR and FORWARDED in connection.headers:
        return unquote(connection.headers.get(ASKED_BY, "")) or person
    return person
