"""Backups of a hub as its command line and its server make them: the settings become makers, schedules and restorers.

The command line works beside a hub that runs: it reads the database by itself, and writes into it only which backups
there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sqlalchemy import URL, Connection

from skerry.hub import encryption
from skerry.hub.backups import ledger, programs, snapshot
from skerry.hub.backups.apart import Home
from skerry.hub.backups.ledger import SEEN_FOR, Entry
from skerry.hub.backups.making import Made, Maker
from skerry.hub.backups.restoring import Database, Found, Restored, Restorer, Wish
from skerry.hub.backups.schedule import Plan, Schedule, counted, note
from skerry.hub.fleet.assignments import Assignments
from skerry.hub.fleet.safe import KEY_FILE, Safe
from skerry.hub.settings import HubSettings
from skerry.hub.store import facts, keys
from skerry.hub.store.engine import parse_url, reading, written
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.leases import Leases
from skerry.hub.store.schema import newest
from skerry.kit.archive.format import Header, Progress
from skerry.kit.archive.rotation import SUFFIX
from skerry.kit.archive.wrapping import ArchiveKey, Wrapping, by_passphrase, unwrap
from skerry.kit.clock import NS, Clock, SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, InvalidInput, Refused
from skerry.kit.ids import uuid7
from skerry.kit.sealing.sources import obtain, read_secret

DIRECTORY = "backups"
KEPT = 7 * 86_400.0
"""Seconds that a backup by other tools counts: nodes keep what was acknowledged no longer than that anyway."""


def build_schedule(
    settings: HubSettings, store: HubStore, leases: Leases, clock: Clock
) -> Schedule:
    """The hub's own backups. On PostgreSQL there are some only where the settings say where they go."""
    storage = settings.storage
    directory, own = backup_directory(settings)
    wanted = not store.shared or storage.backup_path is not None
    plan = Plan(directory, storage.backup_interval if wanted else 0.0, storage.backup_keep)
    maker = build_maker(settings, clock)
    return Schedule(store, maker, leases, plan, clock, own=own)


def backup_directory(settings: HubSettings) -> tuple[Path, bool]:
    """Where the hub's own backups are, and whether that is a directory of its own."""
    path = settings.storage.backup_path
    return (settings.data_dir.absolute() / DIRECTORY, True) if path is None else (path, False)


def build_maker(settings: HubSettings, clock: Clock) -> Maker:
    """What makes backups of the hub with these settings."""
    wrappings = partial(_wrappings, settings)
    return Maker(_home(settings), settings.fleet, wrappings, RealDisk(), clock)


def back_up(
    settings: HubSettings, path: Path | None, clock: Clock, progress: Progress = lambda _: None
) -> Made:
    """Writes a backup, into the hub's own directory if there is no path, and lets nodes rely on it. Blocks.

    Raises Refused, Transient, Corrupt, OSError.
    """
    url = _current(settings)
    maker = build_maker(settings, clock)
    if path is not None:
        made = maker.to_file(path, progress)
    else:
        directory, own = backup_directory(settings)
        if own:
            directory.mkdir(mode=0o700, exist_ok=True)
        with reading(url) as connection:
            hub_id = facts.hub_id(connection)
        made = maker.to_directory(directory, hub_id, progress)
    entry = counted(made, uuid7(clock), made.taken_at + SEEN_FOR)

    def tell(connection: Connection) -> None:
        if entry is not None:
            ledger.remember(connection, entry, made.points)
        if path is None:
            note(connection, made)

    written(url, tell)
    return made


def count_other(
    settings: HubSettings, words: Sequence[str], kept: float, clock: Clock, *, files: bool
) -> int:
    """Runs the user's own tool, and lets nodes rely on what the database had before it began; returns how many lanes.

    `kept` is for how many seconds, at most KEPT; `files`: it copies the files in the data directory, too. Raises
    InvalidInput, Refused when it fails, Transient. Blocks.
    """
    if not 0 < kept <= KEPT:
        raise InvalidInput(
            "cannot count a backup for so long: write more than nothing and at most 7d, because nodes keep nothing for "
            "longer than that anyway"
        )
    url = _current(settings)
    taken_at = clock.wall_ns()
    with reading(url) as connection:
        points = ledger.read_points(connection)
    if not files and settings.blobs.url is None:
        points = ledger.without_files(points)
    programs.run(words)
    until = taken_at + int(kept * NS)
    entry = Entry(uuid7(clock), "", 0, taken_at, until)
    written(url, lambda connection: ledger.remember(connection, entry, points))
    return len(points)


def check(settings: HubSettings, path: Path) -> Found:
    """What a backup has. Raises as `Restorer.check`. Blocks."""
    return _restorer(settings, SystemClock()).check(path)


def restore(settings: HubSettings, path: Path, wish: Wish, clock: Clock) -> Restored:
    """Puts a backup in the place of the hub's store. Raises as `Restorer.restore`. Blocks; not in an event loop."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _restorer(settings, clock).restore(path, wish)


def make_data_dir(settings: HubSettings) -> None:
    """Makes the data directory of a hub that starts, if it is not there. Raises Refused."""
    path = settings.data_dir
    try:
        RealDisk().make_directory("hub.directory", path)
    except OSError as error:
        raise Refused(
            f"cannot make {path}: {error.strerror}. Make it for the hub's user, or choose another one: «data_dir» in "
            "hub.yaml, or --data-dir."
        ) from error


def start(settings: HubSettings, store: HubStore) -> None:
    """Opens the store of a hub that starts. Raises as `HubStore.start`; what is damaged stays as it is.

    A backup is not put back by itself: what people have changed since it was taken would be gone without a word.
    """
    try:
        store.start()
    except Corrupt as error:
        newest = _newest(settings)
        where = f"The newest backup here: {newest}" if newest else "There is no backup here"
        raise Corrupt(f"{error} {where}.") from error


def _newest(settings: HubSettings) -> Path | None:
    directory, _ = backup_directory(settings)
    found = directory.glob(f"hub-{settings.fleet}-*{SUFFIX}")
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _restorer(settings: HubSettings, clock: Clock) -> Restorer:

    def key_of(header: Header) -> ArchiveKey | None:
        wish = encryption.wish(settings)
        kek_of = None if wish is None else partial(obtain, where=wish.where)
        return unwrap(header, kek_of, passphrase=_passphrase(settings))

    def opened(staged: URL) -> HubStore:
        sealing = encryption.wish(settings)
        return HubStore(staged.render_as_string(hide_password=False), clock, encryption=sealing)

    database = Database(opened, Assignments(clock, safe_of(settings)).reissue)
    return Restorer(_home(settings), key_of, database, RealDisk(), clock)


def safe_of(settings: HubSettings) -> Safe:
    """What locks secrets where nothing is encrypted."""
    return Safe(settings.data_dir / KEY_FILE, RealDisk())


def _home(settings: HubSettings) -> Home:
    return Home(
        parse_url(settings.database_url),
        settings.data_dir,
        settings.blobs.url or "",
        vouched=settings.storage.database_apart,
    )


def _wrappings(settings: HubSettings) -> list[Wrapping]:
    """By the key-encryption key of a store that is sealed, and by the recovery passphrase, if there is one."""
    wish, passphrase = encryption.wish(settings), _passphrase(settings)
    found = [] if passphrase is None else [by_passphrase(passphrase)]
    if wish is not None:
        with reading(parse_url(settings.database_url)) as connection:
            source = keys.source_of(connection)
        if source is not None:
            found.append(Wrapping(obtain(source, wish.where), source))
    return found


def _passphrase(settings: HubSettings) -> bytes | None:
    path = settings.storage.backup_passphrase
    return None if path is None else read_secret(path)


def _current(settings: HubSettings) -> URL:
    """The database's address. Raises Refused when a hub of this build has not been started with it yet."""
    url = parse_url(settings.database_url)
    found = snapshot.revision(url)
    if found != newest():
        older = int(found) < int(newest())
        way_out = (
            "Start the hub with this build once" if older else "Install the newer Skerry again"
        )
        raise Refused(
            f"cannot back up {url}: it has schema {found}, this build knows {newest()}. {way_out}."
        )
    return url
