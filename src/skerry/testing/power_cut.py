"""A disk that loses its power: which bytes and names are there afterwards, by what POSIX promises and no more.

A `Volume` keeps book of the changes below one directory of the real file system, which its two users go on changing
for real: `PowerCutDisk` (segments, files, key ring) and `PowerCutVfs` (SQLite), so both lose their power at once. What
a file's sync has not covered may be kept or lost sector by sector, in any order; a name stays uncertain until its
directory is synced, even when the file itself was. Prior art: SQLite's test6.c (sectors that are written, not written
or reordered), ALICE (names and contents persist apart), CrashMonkey and dm-log-writes (record, then replay a part).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

SECTOR = 512
"""Bytes that are written whole or not at all."""

Fate = Literal["kept", "lost", "prefix", "apart", "mixed"]
"""Of what was not synced: all of it, none, all up to one moment, whole files, or each sector and name by chance."""

FATES: tuple[Fate, ...] = ("kept", "lost", "prefix", "apart", "mixed", "mixed")

Keeps = Callable[[int], bool]
"""Whether the change of that number, or one sector of it, is on the disk when the power is gone."""


class _Change(msgspec.Struct, frozen=True):
    """Bytes at an offset, or a new size where `data` is None. `number` orders all changes of a volume."""

    number: int
    offset: int
    data: bytes | None


class File(msgspec.Struct, eq=False):
    """Content that is on the disk, and changes to it that may not be."""

    content: bytearray
    changes: list[_Change] = []

    def now(self) -> bytearray:
        """As its readers see it."""
        return self.surviving(lambda _: True)

    def settle(self) -> None:
        """Its readers' content is on the disk."""
        content = self.content
        for change in self.changes:
            end = change.offset + len(change.data or b"")
            content.extend(bytes(max(0, end - len(content))))
            if change.data is None:
                del content[end:]
            else:
                content[change.offset : end] = change.data
        self.changes = []

    def surviving(self, keeps: Keeps) -> bytearray:
        """`keeps` is asked once for each sector of each change, and for each new size."""
        content = bytearray(self.content)
        size = len(content)
        for change in self.changes:
            if change.data is None:
                size = _resized(content, size, change, keeps)
            else:
                size = _written(content, size, change, change.data, keeps)
        del content[size:]
        return content


def _resized(content: bytearray, size: int, change: _Change, keeps: Keeps) -> int:
    if not keeps(change.number):
        return size
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset :] = bytes(len(content) - change.offset)
    return change.offset


def _written(content: bytearray, size: int, change: _Change, data: bytes, keeps: Keeps) -> int:
    end = change.offset + len(data)
    content.extend(bytes(max(0, end - len(content))))
    start = change.offset
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if keeps(change.number):
            content[start:stop] = data[start - change.offset : stop - change.offset]
            if stop > size and keeps(change.number):
                size = stop
        start = stop
    return end if end > size and keeps(change.number) else size


class _Naming(msgspec.Struct, frozen=True):
    """Names of one directory that change together; None: the name goes. `after`: only if that change is there, too."""

    number: int
    names: dict[str, File | Directory | None]
    after: int = 0


class Directory(msgspec.Struct, eq=False):
    """Names as everybody sees them, those that are on the disk, and the changes in between."""

    names: dict[str, File | Directory] = {}
    kept: dict[str, File | Directory] = {}
    changes: list[_Naming] = []

    def surviving(self, keeps: Keeps) -> dict[str, File | Directory]:
        """`keeps` must answer the same for the same change: two directories may ask for it."""
        names = dict(self.kept)
        for change in self.changes:
            if keeps(change.number) and (not change.after or keeps(change.after)):
                _apply(change, names)
        return names


class _Luck:
    """Decides what is on the disk when the power is gone."""

    def __init__(self, fate: Fate, chance: random.Random, last: int) -> None:
        self._fate = fate
        self._chance = chance
        self._last = last
        self._share = chance.choice((0.1, 0.5, 0.9))
        self._names: dict[int, bool] = {}

    def of_file(self) -> Keeps:
        """For the content of one file."""
        if self._fate != "apart":
            return self._decide
        kept = self._toss()
        return lambda _: kept

    def of_names(self, number: int) -> bool:
        """For names, always the same."""
        if number not in self._names:
            self._names[number] = self._decide(number)
        return self._names[number]

    def _decide(self, number: int) -> bool:
        match self._fate:
            case "kept":
                return True
            case "lost":
                return False
            case "prefix":
                return number < self._last or (number == self._last and self._toss())
            case "apart" | "mixed":
                return self._toss()

    def _toss(self) -> bool:
        return self._chance.random() < self._share


class PowerCut(msgspec.Struct, frozen=True):
    """What a cut has left: contents by path, None for a directory. `label` is the operation that it fell into."""

    operation: int
    label: str
    fate: Fate
    left: dict[Path, bytes | None]

    def restore(self, root: Path) -> None:
        """Makes `root`, which must not exist, what the next start finds."""
        root.mkdir(parents=True)
        for path, content in self.left.items():
            if content is None:
                (root / path).mkdir(mode=0o700)
            else:
                (root / path).write_bytes(content)
                (root / path).chmod(0o600)


class Volume:
    """Everything below `root`, durable as it is found. The power fails in operation `cut_at` (1, 2, …; 0: never).

    What was not synced then meets one of the `fates`. What happens after the cut is nobody's business: `cut` is what
    was left, and it does not change any more. Every call may come from any thread.
    """

    def __init__(
        self,
        root: Path,
        chance: random.Random,
        *,
        cut_at: int = 0,
        fates: Sequence[Fate] = FATES,
    ) -> None:
        self.root = root
        self.operations = 0
        self.cut: PowerCut | None = None
        self._chance = chance
        self._cut_at = cut_at
        self._fates = fates
        self._lock = threading.RLock()
        self._top = _found(root)

    def cut_after(self, operations: int) -> None:
        """The power fails in the operation of that number, counted from now."""
        self._cut_at = self.operations + operations

    def open(self, path: Path) -> File:
        """The file of that name, a new and empty one if there is none."""
        with self._lock:
            directory = self._directory(path.parent)
            if path.name not in directory.names:
                self._name(directory, {path.name: File(bytearray())})
                self._step(f"create {path.name}")
            found = directory.names[path.name]
            assert isinstance(found, File)
            return found

    def make_directory(self, path: Path) -> None:
        """A new, empty directory."""
        with self._lock:
            self._name(self._directory(path.parent), {path.name: Directory()})
            self._step(f"make directory {path.name}")

    def write(self, file: File, offset: int, data: bytes) -> None:
        """Bytes into a file, beyond its end, too."""
        with self._lock:
            file.changes.append(_Change(self._next, offset, data))
            self._step(f"write {len(data)} bytes")

    def truncate(self, file: File, size: int) -> None:
        """A new size."""
        with self._lock:
            file.changes.append(_Change(self._next, size, None))
            self._step(f"truncate to {size}")

    def sync(self, file: File) -> None:
        """The file's content is on the disk when this returns; its name may not be."""
        with self._lock:
            self._step("sync")
            file.settle()

    def rename(self, path: Path, target: Path) -> None:
        """Replaces what had the name `target`. Across directories the old name may go on beside the new one."""
        with self._lock:
            old, new = self._directory(path.parent), self._directory(target.parent)
            moved = old.names[path.name]
            if old is new:
                self._name(old, {path.name: None, target.name: moved})
            else:
                number = self._next
                self._name(new, {target.name: moved})
                self._step(f"rename to {target.name}")
                self._name(old, {path.name: None}, after=number)
            self._step(f"rename {path.name}")

    def unlink(self, path: Path) -> None:
        """A name goes; a missing one is fine."""
        with self._lock:
            directory = self._directory(path.parent)
            if path.name in directory.names:
                self._name(directory, {path.name: None})
                self._step(f"unlink {path.name}")

    def sync_directory(self, path: Path) -> None:
        """The names in the directory are on the disk when this returns; what they name may not be."""
        with self._lock:
            self._step(f"sync directory {path.name}")
            directory = self._directory(path)
            directory.kept, directory.changes = dict(directory.names), []

    def untold(self) -> list[str]:
        """What the real directory has otherwise than the volume was told: written past it, so never cut."""
        found, told = dict(_flat(_found(self.root))), dict(_flat(self._top))
        return sorted(
            str(path)
            for path in found.keys() | told.keys()
            if found.get(path, b"missing") != told.get(path, b"missing")
        )

    @property
    def _next(self) -> int:
        return self.operations + 1

    def _name(
        self, directory: Directory, names: dict[str, File | Directory | None], *, after: int = 0
    ) -> None:
        change = _Naming(self._next, names, after)
        directory.changes.append(change)
        _apply(change, directory.names)

    def _step(self, label: str) -> None:
        self.operations += 1
        if self.operations == self._cut_at:
            fate = self._chance.choice(self._fates)
            last = self.operations - self._chance.choice((0, 1, 3, 10))
            left = dict(_left(self._top, _Luck(fate, self._chance, last), Path()))
            self.cut = PowerCut(self.operations, label, fate, left)

    def _directory(self, path: Path) -> Directory:
        found: File | Directory = self._top
        for part in path.relative_to(self.root).parts:
            assert isinstance(found, Directory)
            if part not in found.names:
                raise FileNotFoundError(f"{path} is no directory that the volume was told of")
            found = found.names[part]
        assert isinstance(found, Directory)
        return found


def _apply(change: _Naming, names: dict[str, File | Directory]) -> None:
    for name, what in change.names.items():
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what


def _found(path: Path) -> Directory:
    names: dict[str, File | Directory] = {}
    for entry in sorted(path.iterdir()):
        if entry.is_dir():
            names[entry.name] = _found(entry)
        elif entry.is_file():
            names[entry.name] = File(bytearray(entry.read_bytes()))
    return Directory(names, dict(names))


def _flat(directory: Directory, at: Path = Path()) -> Iterator[tuple[Path, bytes | None]]:
    for name, what in directory.names.items():
        if isinstance(what, File):
            yield at / name, bytes(what.now())
        else:
            yield at / name, None
            yield from _flat(what, at / name)


def _left(directory: Directory, luck: _Luck, at: Path) -> Iterator[tuple[Path, bytes | None]]:
    for name, what in directory.surviving(luck.of_names).items():
        if isinstance(what, File):
            yield at / name, bytes(what.surviving(luck.of_file()))
        else:
            yield at / name, None
            yield from _left(what, luck, at / name)
