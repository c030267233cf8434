"""The files of the fleet's authorities in a backup: only in one that is sealed, because whoever has them is the fleet's hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from skerry.kit.clock import iso
from skerry.kit.disk import Disk

MEMBER = "trust.json"
_DIRECTORY = "trust"
_ROOT = "root.crt"
_OF_NODES = (
    "root.key", "intermediate.crt", "intermediate.key", "next-root.crt", "next-root.key", _ROOT,
)  # fmt: skip
_OF_SSH = ("ssh_user_ca", "ssh_host_ca")
_NAMES = (*_OF_NODES, *_OF_SSH)


def there_are(data_dir: Path) -> bool:
    """Whether this hub has an authority for nodes."""
    return (data_dir / _DIRECTORY / _ROOT).exists()


def are_taken(data_dir: Path) -> bool:
    """Whether this hub has any file of an authority."""
    return any((data_dir / _DIRECTORY / name).exists() for name in _NAMES)


def taken(data_dir: Path) -> bytes:
    """The files, for an archive that is sealed."""
    paths = [data_dir / _DIRECTORY / name for name in _NAMES]
    return msgspec.json.encode({path.name: path.read_text() for path in paths if path.exists()})


def put_back(data: bytes, data_dir: Path, now: int, disk: Disk) -> bool:
    """What `taken` had takes the place of what is there, which is set aside where it is another authority's.

    Other files of the directory, such as the key of the hub's secrets, are none of an authority's and stay. Whether the
    nodes' authority was among them.
    """
    files = msgspec.json.decode(data, type=dict[str, str])
    directory = data_dir / _DIRECTORY
    aside = data_dir / f"{_DIRECTORY}.before-{iso(now)}"
    for name in _of_others(files, directory):
        disk.make_directory("restore.trust-kept", aside)
        disk.rename("restore.trust-aside", directory / name, aside / name)
    disk.make_directory("restore.trust", directory)
    # Certificates last: one that is there has its key.
    for name in sorted(files.keys() & set(_NAMES), reverse=True):
        mode = 0o644 if name.endswith(".crt") else 0o600
        disk.write_atomic("restore.trust-file", directory / name, files[name].encode(), mode)
    return _ROOT in files


def _of_others(files: Mapping[str, str], directory: Path) -> list[str]:
    """What is there of another authority than that of `files`. The root comes last: without it none would look again."""

    def differs(name: str) -> bool:
        path = directory / name
        return name in files and path.exists() and path.read_text() != files[name]

    names = [name for name in _OF_SSH if differs(name)]
    if differs(_ROOT):
        names += _OF_NODES
    return [name for name in names if (directory / name).exists()]
