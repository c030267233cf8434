"""The files of the fleet's authority in a backup: only in one that is sealed, because whoever has them is the fleet's hub."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skerry.kit.clock import iso
from skerry.kit.disk import Disk

MEMBER = "trust.json"
_DIRECTORY = "trust"
_NAMES = (
    "root.crt",
    "root.key",
    "intermediate.crt",
    "intermediate.key",
    "next-root.crt",
    "next-root.key",
)


def there_are(data_dir: Path) -> bool:
    """Whether this hub has an authority."""
    return (data_dir / _DIRECTORY / "root.crt").exists()


def taken(data_dir: Path) -> bytes:
    """The files, for an archive that is sealed."""
    paths = [data_dir / _DIRECTORY / name for name in _NAMES]
    return msgspec.json.encode({path.name: path.read_text() for path in paths if path.exists()})


def put_back(data: bytes, data_dir: Path, now: int, disk: Disk) -> None:
    """What `taken` had takes the place of what is there, which is set aside when it is another root's."""
    files = msgspec.json.decode(data, type=dict[str, str])
    directory = data_dir / _DIRECTORY
    held = directory / "root.crt"
    if held.exists() and held.read_text() != files.get("root.crt"):
        disk.rename("restore.trust-aside", directory, data_dir / f"{_DIRECTORY}.before-{iso(now)}")
    disk.make_directory("restore.trust", directory)
    # Certificates last: one that is there has its key.
    for name in sorted(files.keys() & set(_NAMES), reverse=True):
        mode = 0o600 if name.endswith(".key") else 0o644
        disk.write_atomic("restore.trust-file", directory / name, files[name].encode(), mode)
