"""Where a node's backups are and what they are called."""

from __future__ import annotations

from pathlib import Path

from skerry.node.identity import Identity
from skerry.node.node_settings import STORE_FILE, NodeSettings

DIRECTORY = "backups"
NEWEST = "backup.newest"
"""Names the newest backup, in the data directory: the directory of backups may not be mounted."""

_TOLD_APART = 6


def backup_directory(settings: NodeSettings) -> Path:
    """Where this node's backups are."""
    return settings.storage.backup_path or settings.data_dir.absolute() / DIRECTORY


def database_file(settings: NodeSettings) -> Path:
    """The file of the node's database."""
    return settings.storage.path or settings.data_dir.absolute() / STORE_FILE


def owner_of(settings: NodeSettings, identity: Identity | None) -> str:
    """The word in the names of its backups: two nodes of one name may use the same share."""
    if identity is None:
        return settings.name
    return f"{identity.name}-{identity.node_id.replace('-', '')[-_TOLD_APART:]}"
