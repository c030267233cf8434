"""Erases what a node has on its disks, its keys first, and states what it has done. Runs alone, without an agent.

What was sealed is gone with its keys, whatever a disk keeps of it. What was not is overwritten where it is a key or a
credential, else only unlinked: a flash disk may keep old blocks, which is why the certificate says which of them it was.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from skerry import __version__
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.file_lock import locked
from skerry.kit.flattening import flatten
from skerry.kit.tmpfs import tmpfs_below, unmount
from skerry.node.backups.place import backup_directory, database_file, owner_of
from skerry.node.identity import SECRET_FILE, Identity
from skerry.node.node_settings import NodeSettings
from skerry.node.outside import out_of_reach, written_outside
from skerry.node.retirement import (
    CERTIFICATE_FILE,
    MARK_FILE,
    Certificate,
    Mark,
    Survey,
    write_certificate,
    write_mark,
)
from skerry.node.workloads.runtimes.owner import known_mark
from skerry.node.workloads.runtimes.secret_files import MEMORY, is_ours
from skerry.wire.codec import encode
from skerry.wire.devices import Erasure, ErasureReport

LOCK_FILE = "node.lock"
_RINGS = ("keys.json", "keys.copy.json", "keys.uncounted")
_KEYS = (*_RINGS, SECRET_FILE, "enrolling.secret", "storage.key", "*.key", "*.secret", "*.pem")
"""Patterns in the data directory and in the directories right below it, those first with which all that is sealed goes."""

_OF_OURS = frozenset({MARK_FILE, CERTIFICATE_FILE, LOCK_FILE})
_SETTINGS = "node.yaml"
_MOST_LEFT = 20
_MOST_LINKS = 10
_VOLUMES = "volumes that containers have with their engine, and images"


def erase(settings: NodeSettings, mark: Mark, disk: Disk, clock: Clock) -> Certificate:
    """Erases everything, or goes on with it; the certificate is durable and the mark is gone afterwards.

    What cannot be erased is in the certificate. Raises OSError where the mark or the certificate cannot be written, and
    Held while another process works in the directory.
    """
    data_dir = settings.data_dir.resolve()
    with locked(data_dir / LOCK_FILE):
        unmounted = _without_mounts(settings, data_dir)
        survey = mark.survey
        if survey is None:
            survey = _survey(settings, data_dir, mark)
            left = [*mark.left, *_links(survey), *unmounted, *out_of_reach(data_dir)]
            mark = msgspec.structs.replace(mark, phase="erasing", survey=survey, left=left)
            with contextlib.suppress(
                OSError
            ):  # a full disk: what is counted now is counted again after a kill
                write_mark("erase.begin", data_dir, disk, mark)
        left = [*mark.left]
        for key in survey.keys:
            _destroy(Path(key), disk, left)
        for place in survey.places:
            _clear(Path(place), disk, left)
        certificate = _certify(mark, survey, left, clock)
        write_certificate(data_dir, disk, certificate)
        disk.unlink("erase.done", data_dir / MARK_FILE)
        disk.sync_directory("erase.done", data_dir)
    return certificate


def _survey(settings: NodeSettings, data_dir: Path, mark: Mark) -> Survey:
    """What there is, in the order in which it goes."""
    found = (
        path
        for pattern in _KEYS
        for where in (pattern, f"*/{pattern}")
        for path in sorted(data_dir.glob(where))
        if path.is_file() and path.resolve() == path  # what a link leads to may be anybody's
    )
    own, copies = written_outside(data_dir)
    keys = list(dict.fromkeys(str(path) for path in (*found, *copies)))
    files = size = 0
    places = [*own, *_places(settings, data_dir, mark)]
    for place in places:
        flatten(place)
        for path in _below(place, []):
            if not _stays(path, place):
                files, size = files + 1, size + path.lstat().st_size
    sealed = any((data_dir / name).exists() for name in _RINGS[:2])
    return Survey(keys, sealed, files, size, [str(place) for place in places])


def _links(survey: Survey) -> list[str]:
    """Says for each link out of the places that only the link goes; it is said before, because afterwards nobody knows."""
    places = [Path(place) for place in survey.places]
    said = []
    for place in places:
        for path in _below(place, []):
            target = path.resolve()
            inside = any(target.is_relative_to(each) for each in places)
            if path.is_symlink() and target.exists() and not inside and not _stays(path, place):
                said.append(f"{path}: a link to {target}, which stays")
    return said if len(said) <= _MOST_LINKS else [*said[:_MOST_LINKS], "and more links"]


def _places(settings: NodeSettings, data_dir: Path, mark: Mark) -> list[Path]:
    """Directories and files of this node's own: the data directory last, because the mark is in it."""
    database = database_file(settings).absolute()
    databases = dict.fromkeys([database, database.resolve()])  # a link goes, and what it leads to
    elsewhere = [
        each.with_name(f"{each.name}{end}")
        for each in databases
        for end in ("", "-wal", "-shm", ".lock")
        if not each.parent.resolve().is_relative_to(data_dir)
    ]
    backups = backup_directory(settings).resolve()
    if not backups.is_relative_to(data_dir) and backups.is_dir():
        order = mark.order
        name = owner_of(settings, Identity(order.node_id, order.name, {}, "", order.hub_id))
        elsewhere += sorted(backups.glob(f"node-{name}-*"))
    mark_of_node = known_mark(data_dir)
    in_memory = [MEMORY / f"skerry{kind}-{mark_of_node}" for kind in ("", "-gate")]
    elsewhere += filter(is_ours, in_memory)
    return [*elsewhere, data_dir]


def _without_mounts(settings: NodeSettings, data_dir: Path) -> list[str]:
    """Ends what the node has mounted for its drivers, in memory; says what stays."""
    roots = filter(
        is_ours, (MEMORY / f"skerry-gate-{known_mark(data_dir)}", settings.run_dir / "gate")
    )
    places = [place for root in roots for place in tmpfs_below(root)]
    return [f"{place}: {fault}" for place in places if (fault := unmount(place))]


def _below(place: Path, left: list[str]) -> Iterator[Path]:
    """`place` if it is a file, else all that is below it on the same file system, what is deeper first."""
    if place.is_symlink() or not place.is_dir():
        if place.is_symlink() or place.exists():
            yield place
        return
    device = place.stat().st_dev
    for folder, directories, files in os.walk(place, onerror=lambda error: _note(left, error)):
        here = Path(folder)
        for name in [*directories]:
            if (here / name).is_symlink():
                directories.remove(name)
                files.append(name)
            elif (here / name).stat().st_dev != device:
                directories.remove(name)
                _note(left, OSError(0, "another file system is mounted there"), here / name)
        yield from (here / name for name in files)


def _stays(path: Path, place: Path) -> bool:
    """What says that it was done, and settings that the machine has elsewhere, for whatever node is on it."""
    if path.parent != place:
        return False
    linked = path.name == _SETTINGS and path.is_symlink()
    return path.name in _OF_OURS or (linked and not path.resolve().is_relative_to(place))


def _destroy(path: Path, disk: Disk, left: list[str]) -> None:
    """Overwrites a key or credential, then unlinks it."""
    try:
        if path.exists():
            disk.point("erase.overwrite")
            with open(path, "r+b", opener=_unlinked) as file:
                size = os.fstat(file.fileno()).st_size
                file.write(secrets.token_bytes(size))
                file.flush()
                os.fsync(file.fileno())
        disk.unlink("erase.key", path)
        disk.sync_directory("erase.key", path.parent)
    except FileNotFoundError:
        pass  # with its directory, before a kill
    except OSError as error:
        _note(left, error, path)


def _unlinked(path: str, flags: int) -> int:
    """A place in somebody's directory may have become a link since it was looked at."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def _clear(place: Path, disk: Disk, left: list[str]) -> None:
    """Unlinks everything but what stays; what cannot be is noted."""
    is_directory = place.is_dir() and not place.is_symlink()
    for path in _below(place, left):
        if _stays(path, place):
            continue
        try:
            disk.unlink("erase.file", path)
        except OSError as error:
            _note(left, error, path)
    if not is_directory:
        return
    for folder, directories, _ in os.walk(place, topdown=False):
        for name in directories:
            try:
                (Path(folder) / name).rmdir()
            except OSError as error:
                _note(left, error)
    disk.sync_directory("erase.places", place)


def _note(left: list[str], error: OSError, path: Path | None = None) -> None:
    words = f"{path or error.filename}: {error.strerror}"
    if words in left:
        return
    if len(left) < _MOST_LEFT:
        left.append(words)
    elif len(left) == _MOST_LEFT:
        left.append("and more")


def _certify(mark: Mark, survey: Survey, left: Sequence[str], clock: Clock) -> Certificate:
    order = mark.order
    erased = Erasure(
        node_id=order.node_id,
        name=order.name,
        hub_id=order.hub_id,
        begun_at=mark.begun_at,
        ended_at=clock.wall_ns(),
        keys=survey.keys,
        sealed=survey.sealed,
        files=survey.files,
        bytes=survey.bytes,
        places=survey.places,
        left=[*left, _VOLUMES] if _VOLUMES not in left else [*left],
        version=__version__,
    )
    statement = encode(erased).decode()
    mac = hmac.new(order.receipt.encode(), statement.encode(), "sha256").hexdigest()
    report = ErasureReport(order.node_id, statement, mac)
    return Certificate(
        report, mark.hubs, order.name, erased.ended_at, survey.files, roots=mark.roots,
        authorities=mark.authorities,
    )  # fmt: skip
