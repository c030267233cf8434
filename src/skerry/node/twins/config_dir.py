"""The configuration directory, `~/.cyberwave`: whose it is, and its content as `DeviceConfig`.

Others write there too, at any time: the command line of Cyberwave, people, and drivers their twins' files
(`twins.syncing`). The agent may be root and the directory a user's, so no link is followed and what is made is the user's.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from skerry.core.cyberwave.json_objects import Object, object_of
from skerry.core.cyberwave.knobs import knobs_of, usable
from skerry.core.cyberwave.names import fingerprint, is_fingerprint, prefix_faults
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.directory_watch import DirectoryWatch
from skerry.kit.disk import Disk, DiskOf
from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.text_file import read_unlinked
from skerry.node.twin_ports import DeviceConfig
from skerry.node.twins.config_files import variables_in
from skerry.node.twins.known_config import (
    CREDENTIALS,
    ENVIRONMENT,
    FILES,
    FINGERPRINT,
    Found,
    Known,
    Reading,
    reading,
)
from skerry.node.twins.legacy_config import COPIES, MIGRATED, mark_of, migrate
from skerry.wire.codec import decode

DIRECTORY = ".cyberwave"
OVERRIDE = "CYBERWAVE_EDGE_CONFIG_DIR"

MAX_FILE = 1 << 20

LOOK_EVERY = 15.0
"""Seconds, whether or not anything was noticed."""

TRIES, BETWEEN = 6, 0.2
"""So often, so many seconds apart, environment.json is read before it counts as wrong: somebody may be writing it."""

_FOREIGN_BITS = 0o077

log = logging.getLogger(__name__)

Note = Callable[[Path, bytes | None], object]

_UNCHANGED = (-1, -1)
"""As fchown has it."""

_Stamps = Mapping[str, tuple[int, int, int, int] | None]


class KnownStore(Protocol):
    """Keeps what the files came to when they could be read (`store.known_config`)."""

    def read(self) -> bytes | None: ...

    async def keep(self, body: bytes) -> None: ...


class Host(msgspec.Struct, frozen=True):
    """What the system says of itself: `socket.gethostname()`, `uuid.getnode()`, `platform.system()`, `platform.machine()`."""

    name: str
    node: int
    system: str
    machine: str


class Own(msgspec.Struct, frozen=True):
    """What holds before any file: the variables of the agent's own environment, and the environment of the settings."""

    variables: Mapping[str, str] = {}
    environment: str = ""


def default_directory(
    variables: Mapping[str, str], home: Path, home_of: Callable[[str], Path | None]
) -> tuple[Path, bool]:
    """Where the directory is for a process with this environment, and whether that is only the default.

    `home_of` says where a user lives; None: there is no such user.
    """
    user = variables.get("SUDO_USER", "").strip()
    own = (user and home_of(user)) or home
    if said := variables.get(OVERRIDE, "").strip():
        # A service's environment has passed no shell.
        return own / said.removeprefix("~/") if said.startswith("~/") else Path(said), False
    return own / DIRECTORY, True


def disk_for(directory: Path, note: Note) -> Disk:
    """What writes in the directory so that its files belong to whom it belongs, or would if it were there.

    `note` hears of each file before it is there, and of what is in it if that was copied.
    """
    found = directory if directory.exists() else directory.parent
    owner = found.stat() if found.exists() else None
    if os.geteuid() or owner is None or not owner.st_uid:
        return _NotedDisk(_UNCHANGED, note)
    return _NotedDisk((owner.st_uid, owner.st_gid), note)


class _NotedDisk(DiskOf):
    def __init__(self, owner: tuple[int, int], note: Note) -> None:
        super().__init__(owner)
        self._note = note

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        self._note(path, data if label == COPIES else None)
        super().write_atomic(label, path, data, mode)

    def rewrite(self, label: str, path: Path, text: bytes, most: int) -> None:
        self._note(path, None)
        super().rewrite(label, path, text, most)


class ConfigDirectory:
    """The one at `path`. `open` comes first; `run` goes on for ever, and `changed` rings when `config` is another.

    `store` has what the agent before this one could read.
    """

    def __init__(
        self, path: Path, own: Own, host: Host, disk: Disk, clock: Clock, store: KnownStore
    ) -> None:
        self.path = path
        self.changed = Bell()
        self.config = DeviceConfig("")
        self.in_doubt = False
        """Somebody has written which environment it is, and it cannot be read, nor could it ever."""
        self._store = store
        self._known = Known()
        self._is_kept = True
        self._own = variables_in(own.variables)
        self._host = host
        self.disk = disk
        """What writes there."""
        self._clock = clock
        self._environment = own.environment
        self._bell = Bell()
        self._watch = DirectoryWatch(self._bell)
        self._stamps: _Stamps | None = None
        self._told: tuple[str, ...] = ()

    async def open(self, legacy: Path | None = None) -> DeviceConfig:
        """Makes the directory, migrates `legacy` into it, and reads it: what fails is among `faults`. Raises as the store does."""
        faults: list[str] = []
        if kept := self._store.read():
            known = decode(kept, Known, "what was known of the configuration directory")
            self._known = known.without_addresses()
            self._is_kept = self._known == known
        for step in (self._make, lambda: migrate(legacy, self.path, self.disk)):
            try:
                await asyncio.to_thread(step)
            except OSError as error:
                faults.append(f"cannot use {error.filename or self.path}: {error.strerror}")
        await self._read(faults)
        return self.config

    def made(self, legacy: Path | None = None) -> list[Path]:
        """What is there as this node makes it, so that an agent before this one has made it, which may have noted nothing."""
        usual = {FINGERPRINT: _fingerprint_file(self._made())}
        if legacy is not None:
            usual[MIGRATED] = mark_of(legacy)
        return [self.path / name for name, text in usual.items() if self._has(name, text)]

    def _has(self, name: str, text: bytes) -> bool:
        try:
            return read_unlinked(self.path / name, MAX_FILE) == text
        except (InvalidInput, OSError):
            return False

    def lead(self, name: str, target: Path) -> None:
        """Makes a link there to what documentation says is there, unless something has that name already."""
        path = self.path / name
        if os.path.lexists(path):
            return
        try:
            path.symlink_to(target)
        except OSError as error:
            log.warning("cannot make link %s: %s", path, error.strerror)

    def barred(self) -> str:
        """Why nothing may be started for this device's twins; empty: it may."""
        if self.config.signed_in:
            return ""
        return (
            f"no credentials: {self.path / CREDENTIALS} has no token, so no driver and no worker is started. "
            "Sign in with «cyberwave login», or copy the file there"
        )

    async def run(self) -> None:
        """Reads again whenever a file may be another."""
        try:
            while True:
                seen = self._bell.count
                if not await self._watch.watch([self.path]):
                    await self._bell.within(seen, LOOK_EVERY, self._clock)
                await self.look()
        finally:
            self._watch.close()

    async def look(self) -> None:
        """Reads the files if one of them is another than at the last time."""
        if await asyncio.to_thread(self._stamped) != self._stamps:
            await self._read([])

    async def _read(self, faults: list[str]) -> None:
        self._stamps, found = await asyncio.to_thread(self._contents)
        for _ in range(TRIES - 1):
            if self._environment or not _may_be_half_written(found.get(ENVIRONMENT)):
                break
            await self._clock.sleep(BETWEEN)
            self._stamps, found = await asyncio.to_thread(self._contents)
        read = reading(found, self._known)
        config = await asyncio.to_thread(self._config, found, read, faults)
        is_another, self.config = config != self.config, config
        self.in_doubt = read.in_doubt and not self._environment
        await self._keep(read.known)
        said = tuple(filter(None, (*config.faults, self.barred())))
        for each in said:
            if each not in self._told:
                log.warning("%s", each)
        self._told = said
        if is_another:
            self.changed.ring()

    async def _keep(self, known: Known) -> None:
        """What cannot be kept now is kept at a later look: that is for the next agent."""
        if known == self._known and self._is_kept:
            return
        self._known, self._is_kept = known, False
        try:
            await self._store.keep(msgspec.json.encode(known.without_addresses(), order="sorted"))
        except Transient as error:
            log.warning("cannot keep what %s says: %s", self.path, error)
            return
        self._is_kept = True

    def _config(self, found: Found, read: Reading, faults: list[str]) -> DeviceConfig:
        """What the contents come to."""
        known = read.known
        faults += [f"{self.path / name} {fault}" for name, fault in read.faults]
        variables = {**known.variables, **self._own}
        wrong = prefix_faults(variables)
        variables = {name: value for name, value in variables.items() if name not in wrong}
        faults += [*wrong.values(), *knobs_of(variables).faults]
        variables = usable(variables)
        return DeviceConfig(
            self._fingerprint(variables, found, known, faults),
            read.token,
            self._environment or known.environment,
            variables,
            known.overrides,
            known.video_devices,
            tuple(dict.fromkeys(faults)),
            known.signed_in,
        )

    def _fingerprint(
        self,
        variables: Mapping[str, str],
        found: Found,
        known: Known,
        faults: list[str],
    ) -> str:
        """What is said, else what is stored, else what the system says; that is stored where nothing is."""
        said = variables.get("CYBERWAVE_EDGE_UUID", "").strip()
        if is_fingerprint(said):
            return said
        if said:
            faults.append(
                "CYBERWAVE_EDGE_UUID has something else than letters, digits, «-», «_», «.»"
            )
        made = self._made()
        if FINGERPRINT not in found:
            text = _fingerprint_file(made)
            try:
                self.disk.write_atomic("config.fingerprint", self.path / FINGERPRINT, text)
            except OSError as error:
                faults.append(f"cannot write {self.path / FINGERPRINT}: {error.strerror}")
        return known.fingerprint or made

    def _made(self) -> str:
        host = self._host
        return fingerprint(host.name, host.node, host.system, host.machine)

    def _contents(self) -> tuple[_Stamps, dict[str, Object | InvalidInput]]:
        """The files that are there, or why one cannot be used; and which they were before they were read."""
        stamps = self._stamped()
        found: dict[str, Object | InvalidInput] = {}
        for name in FILES:
            try:
                text = _read_file(self.path / name)
                if text is not None:
                    found[name] = object_of(text)
            except InvalidInput as error:
                found[name] = error
            except OSError as error:
                found[name] = InvalidInput(f"cannot be read: {error.strerror}")
        return stamps, found

    def _stamped(self) -> _Stamps:
        return {name: _stamp(self.path / name) for name in FILES}

    def _make(self) -> None:
        if self.path.is_dir():
            return
        self.disk.make_directory("config.directory", self.path)
        parent = self.path.parent.stat()
        if not os.geteuid() and parent.st_uid:
            os.chown(self.path, parent.st_uid, parent.st_gid, follow_symlinks=False)


def _fingerprint_file(made: str) -> bytes:
    return msgspec.json.encode({"fingerprint": made}) + b"\n"


def _may_be_half_written(content: Object | InvalidInput | None) -> bool:
    if isinstance(content, InvalidInput):
        return True
    return content is not None and not content.get("uuid")


def _read_file(path: Path) -> bytes | None:
    """None: there is no such file. What others could read is made their owner's alone. Raises InvalidInput, OSError."""
    try:
        return read_unlinked(path, MAX_FILE, _kept_private)
    except FileNotFoundError:
        return None


def _kept_private(fd: int, found: os.stat_result) -> None:
    # Another name of it may be another program's file.
    if found.st_mode & _FOREIGN_BITS and found.st_nlink == 1 and _may_change(found):
        os.fchmod(fd, 0o600)


def _may_change(found: os.stat_result) -> bool:
    return os.geteuid() in (0, found.st_uid)


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode
