"""The cache on the disk (`layout`): files by their hashes, hard links to them, the manifest. Called in threads, one at a time.

Whatever is damaged here is a cache's loss: it is fetched again. Only hashes decide what a file is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.node.models.download import origin_path
from skerry.node.models.eviction import chosen, hashes, room_of, unneeded
from skerry.node.models.files import copy_file, sha256_of
from skerry.node.models.layout import (
    DIRECTORY_MODE,
    FILES,
    MANIFEST,
    METADATA,
    PARTS,
    VIEWS,
    Entry,
    entry_of,
    metadata_of,
    view_of,
)
from skerry.wire.codec import decode, encode
from skerry.wire.models import ModelFile, ModelSpec

log = logging.getLogger(__name__)

_FILE_MODE = 0o444
"""Whoever is given a view may read it: a container's user is rarely the node's."""


class ModelStore:
    """The models of one node. `entries` are those that are whole, by id; `stop` ends what takes long.

    Above `limit` bytes, models that nobody needs are removed.
    """

    def __init__(self, root: Path, limit: int, disk: Disk, clock: Clock) -> None:
        self.entries: dict[str, Entry] = {}
        self.stop = threading.Event()
        self.root = root
        self.limit = limit
        self._disk = disk
        self._clock = clock

    def open(self) -> None:
        """Reads the manifest. One that cannot be read costs the models that nobody needs at present."""
        path = self.root / MANIFEST
        try:
            self.entries = decode(path.read_bytes(), dict[str, Entry], str(path))
        except FileNotFoundError:
            self.entries = {}
        except (InvalidInput, OSError) as error:
            log.warning("%s: the models that no workload needs are forgotten", error)
            self.entries = {}

    def path(self, file: ModelFile) -> Path:
        """The file itself."""
        return self.root / FILES / file.sha256

    def part(self, file: ModelFile) -> Path:
        """What has come of a file that is not here yet; the directory is made."""
        directory = self.root / PARTS
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return directory / file.sha256

    def has(self, file: ModelFile) -> bool:
        """Whether a file of this name and size is here; `verify` looks into it."""
        try:
            return self.path(file).stat().st_size == file.size
        except FileNotFoundError:
            return False

    def copy(self, source: Path, file: ModelFile) -> None:
        """Makes the file's part a copy of `source`. Raises as `files.copy_file`."""
        copy_file(source, self.part(file), file.size, self._disk, self.stop)

    def free_bytes(self) -> int:
        """What the disk has left."""
        return self._disk.free_bytes(self.root)

    def keep(self, file: ModelFile) -> None:
        """The part is whole: verified and made durable under its hash. Raises Refused when it is something else."""
        part, target = self.part(file), self.path(file)
        if (found := sha256_of(part, self.stop)) != file.sha256:
            self.drop_part(file)
            raise Refused(
                f"cannot take «{file.name}»: its SHA-256 is {found[:12]}…, the model says {file.sha256[:12]}…"
            )
        target.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        fd = self._disk.open_append("model.open", part)
        try:
            self._disk.sync("model.sync", fd)
            os.fchmod(fd, _FILE_MODE)
        finally:
            os.close(fd)
        self._disk.rename("model.keep", part, target)
        self._disk.unlink("model.origin", origin_path(part))

    def drop_part(self, file: ModelFile) -> None:
        """Forgets what has come of a file."""
        part = self.part(file)
        self._disk.unlink("model.restart", part)
        self._disk.unlink("model.origin", origin_path(part))

    def is_sound(self, file: ModelFile) -> bool:
        """Reads a file; one that is not what it was is removed."""
        try:
            if sha256_of(self.path(file), self.stop) == file.sha256:
                return True
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("cannot read %s: %s", self.path(file), error.strerror)
        self._disk.unlink("model.damaged", self.path(file))
        return False

    def show(self, models: Sequence[ModelSpec]) -> None:
        """Makes the view of exactly these models, or makes it anew where its files are not the cache's; notes the use."""
        view = view_of(self.root, models)
        if not self._is_shown(view, models):
            view.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            new = view.with_name(f"{view.name}.new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(mode=DIRECTORY_MODE)
            manifest = {model.name: self._lay_out(model, new, view) for model in models}
            self._write(new / MANIFEST, encode(manifest), _FILE_MODE)
            if view.exists():
                old = view.with_name(f"{view.name}.old")
                self._disk.rename("model.view", view, old)
                shutil.rmtree(old, ignore_errors=True)
            self._disk.rename("model.view", new, view)
        now = self._clock.wall_ns()
        for model in models:
            if model.name in self.entries:
                entry = self.entries[model.name]
                self.entries[model.name] = msgspec.structs.replace(entry, last_used_at=now)
        self._write_manifest()

    def enter(self, models: Iterable[ModelSpec]) -> None:
        """Lays out models of which every file is here, and lists them; one that is listed as it is costs nothing."""
        changed = False
        for model in models:
            known = self.entries.get(model.name)
            entry = entry_of(model, self.root, self._fetched_at(model), known)
            if entry != known or not self._is_laid_out(self.root, model):
                shutil.rmtree(self.root / model.name, ignore_errors=True)
                self._lay_out(model, self.root, self.root)
                self.entries[model.name] = entry
                changed = True
        if changed:
            self._write_manifest()

    def evict(self, size: int, needed: Set[str]) -> int:
        """Removes unneeded models until `size` bytes are free, as far as there are any; returns the bytes freed."""
        return self._remove([entry.model_id for entry in chosen(self.entries, needed, size)])

    def tidy(self, needed: Set[str], views: Set[str]) -> None:
        """Removes parts and files that nothing refers to, views that are not in `views`, and what exceeds the limit."""
        for part in _listed(self.root / PARTS):
            if part.name.partition(".")[0] not in needed:
                self._disk.unlink("model.tidy", part)
        for view in _listed(self.root / VIEWS):
            if view.name not in views:
                shutil.rmtree(view, ignore_errors=True)
        excess = self.used() - self.limit
        if excess > 0:
            self.evict(excess, needed)
        self._sweep(needed)

    def used(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in _listed(self.root / FILES))

    def evictable(self, needed: Set[str]) -> int:
        """Bytes that would be free without the models that nobody needs."""
        free = unneeded(self.entries, needed)
        gone = {entry.model_id for entry in free}
        rest = [entry for entry in self.entries.values() if entry.model_id not in gone]
        return room_of(self.entries.values()) - room_of(rest)

    def _remove(self, names: Sequence[str]) -> int:
        before = room_of(self.entries.values())
        for name in names:
            del self.entries[name]
        if names:
            self._write_manifest()  # first, so that a crash leaves files without an owner, never the reverse
        for name in names:
            shutil.rmtree(self.root / name, ignore_errors=True)
        freed = before - room_of(self.entries.values())
        if names:
            log.info("removed models that are not needed: %s", ", ".join(names))
        return freed

    def _sweep(self, needed: Set[str]) -> None:
        owned = needed | {sha for entry in self.entries.values() for sha in hashes(entry.files)}
        for path in _listed(self.root / FILES):
            if path.name not in owned:
                self._disk.unlink("model.tidy", path)
        kept = {MANIFEST, f"{MANIFEST}.new", *self.entries}
        for path in _listed(self.root):
            if path.name not in kept and not path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)

    def _is_shown(self, view: Path, models: Iterable[ModelSpec]) -> bool:
        return (view / MANIFEST).exists() and all(
            self._is_laid_out(view, model) for model in models
        )

    def _is_laid_out(self, directory: Path, model: ModelSpec) -> bool:
        """Whether the links there are the cache's files, not merely files of the same names."""
        place = directory / model.name
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            (place / METADATA).stat()
            return all((place / file.name).samefile(self.path(file)) for file in model.files)
        return False

    def _lay_out(self, model: ModelSpec, directory: Path, shown_as: Path) -> Entry:
        """Makes the model's directory in `directory`, which will be called `shown_as`."""
        place = directory / model.name
        place.mkdir(mode=DIRECTORY_MODE)
        for file in model.files:
            try:
                (place / file.name).hardlink_to(self.path(file))
            except FileNotFoundError as error:
                raise Transient(
                    f"cannot show model «{model.name}»: «{file.name}» is gone"
                ) from error
        fetched_at = self._fetched_at(model)
        self._write(place / METADATA, encode(metadata_of(model, fetched_at)), _FILE_MODE)
        return entry_of(model, shown_as, fetched_at)

    def _fetched_at(self, model: ModelSpec) -> int:
        """When the last of its files was written."""
        return max(self.path(file).stat().st_mtime_ns for file in model.files)

    def _write_manifest(self) -> None:
        entries: Mapping[str, Entry] = dict(sorted(self.entries.items()))
        self.root.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        self._write(self.root / MANIFEST, encode(entries), 0o644)

    def _write(self, path: Path, data: bytes, mode: int) -> None:
        self._disk.write_atomic("model.manifest", path, data, mode)


def _listed(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []
