"""A node's secret: made by the node itself, kept by the hub as a hash only."""

from __future__ import annotations

import hashlib
import secrets

_BYTES = 24


def random_secret() -> str:
    """192 random bits as 32 characters: beyond guessing, and short, because it travels with every request."""
    return secrets.token_urlsafe(_BYTES)


def secret_hash(secret: str) -> str:
    """SHA-256 as 64 hexadecimal digits. Our secrets are random, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()
