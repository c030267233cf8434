"""The data bus as files: a directory for each key, in it a file for each sample, of which the SDK leaves the newest 100.

Each new sample is heard as the router's are. A subscriber with a wildcard, which the SDK's own backend makes a directory of
that name for and never fills, is given the samples of all channels that it fits: the same files, by one more name.

Programs in containers write here, so nothing that is there is trusted: no link is followed, and only files are read.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skerry.runners.zenoh.arrivals import Arrivals
from skerry.runners.zenoh.endings import say
from skerry.runners.zenoh.keys import expression_of, includes, key_of
from skerry.runners.zenoh.last import Heard
from skerry.runners.zenoh.rules import MAX_CHANNELS

BUSY, QUIET = 0.02, 0.2
"""Seconds between two looks, while samples come and, at most, after `_STILL` seconds without one."""

_STILL = 2.0
_RING = 100
_MOST_WILDCARDS = 64
_MOST_RUNS = 2
_LARGEST = 64 * 1024 * 1024
_SETTLED = 100_000_000
"""Nanoseconds after which a directory's time would show that it has changed again."""

_SAMPLE = re.compile(r"[0-9]{1,20}\.bin", re.ASCII)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Watched:
    """One directory. `seen` are the samples in it that were told already."""

    def __init__(self, name: str, seen: set[str]) -> None:
        self.name = name
        self.expression = expression_of(name)
        self.seen = seen
        self.changed_at = 0


class Directories:
    """What is below `root`, which need not be there. `wants` says whether samples of a key are to be told to `heard`."""

    def __init__(self, root: Path, wants: Callable[[str], bool], heard: Heard) -> None:
        self._root = root
        self._wants = wants
        self._heard = heard
        self._channels: dict[str, _Watched] = {}
        self._wildcards: dict[str, str] = {}
        """Directories of subscribers, and their expressions."""
        self._unshared: set[str] = set()
        self._first = True
        self._said = ""

    def follow(self) -> None:
        """For ever. What was there before is not told."""
        quiet_since, arrivals = time.monotonic(), Arrivals()
        while True:
            try:
                if self.look(time.time_ns()):  # noqa: TID251 - kit.clock needs asyncio
                    quiet_since = time.monotonic()
                self._said = ""
            except OSError as error:
                if str(error) != self._said:
                    self._said = str(error)
                    say(f"cannot read samples in {self._root}: {error}")
            looked = time.monotonic()
            if looked - quiet_since > _STILL:
                arrivals.wait(self.watched(), QUIET)
            # What is no sample wakes it, too, as often as a program likes.
            time.sleep(max(0.0, looked + BUSY - time.monotonic()))

    def watched(self) -> list[Path]:
        """Where something new would be."""
        return [self._root, *(self._root / name for name in self._channels)]

    def look(self, now: int) -> bool:
        """Tells what is new; whether there was anything. Raises OSError."""
        with suppress(FileNotFoundError), _opened(self._root, None) as root:
            self._find(root)
            found = [self._look_into(root, each, now) for each in [*self._channels.values()]]
            return any(found)
        self._first = False
        return False

    def _find(self, root: int) -> None:
        """New directories, and those that are gone."""
        names = {entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)}
        for gone in self._channels.keys() - names:
            del self._channels[gone]
        wildcards = sorted(name for name in names if _is_wildcard(name))[:_MOST_WILDCARDS]
        self._wildcards = {name: expression_of(name) for name in wildcards}
        for name in names - self._channels.keys():
            if key_of(expression_of(name)) and len(self._channels) < MAX_CHANNELS:
                old = _samples(root, name) if self._first else set()
                self._channels[name] = _Watched(name, old)
        self._first = False

    def _look_into(self, root: int, channel: _Watched, now: int) -> bool:
        with suppress(FileNotFoundError), _opened(channel.name, root) as directory:
            changed_at = os.fstat(directory).st_mtime_ns
            if changed_at == channel.changed_at:
                return False
            names = _samples_in(directory)
            # What follows within a tick of the file system's clock would not change its time.
            channel.changed_at = changed_at if now - changed_at > _SETTLED else 0
            new = sorted(names - channel.seen, key=_number)
            channel.seen = names
            for name in new:
                self._tell(root, directory, channel, name)
            return bool(new)
        return False

    def _tell(self, root: int, directory: int, channel: _Watched, name: str) -> None:
        for wildcard, expression in self._wildcards.items():
            if includes(expression, channel.expression):
                self._share(root, directory, name, wildcard)
        if self._wants(channel.expression):
            sample = _read(directory, name)
            if sample is not None:
                self._heard(channel.expression, sample)

    def _share(self, root: int, directory: int, name: str, wildcard: str) -> None:
        try:
            with _opened(wildcard, root) as target:
                os.link(name, name, src_dir_fd=directory, dst_dir_fd=target, follow_symlinks=False)
                for old in sorted(_samples_in(target), key=_number)[:-_RING]:
                    os.unlink(old, dir_fd=target)
        except (FileNotFoundError, FileExistsError):
            return  # gone already, or of two channels at the same nanosecond
        except OSError as error:
            if wildcard not in self._unshared:
                self._unshared.add(wildcard)
                say(f"cannot give samples to the subscriber of {wildcard}: {error}")


def _samples(root: int, name: str) -> set[str]:
    with suppress(FileNotFoundError), _opened(name, root) as directory:
        return _samples_in(directory)
    return set()


def _samples_in(directory: int) -> set[str]:
    return {entry.name for entry in os.scandir(directory) if _SAMPLE.fullmatch(entry.name)}


def _number(name: str) -> int:
    return int(name.removesuffix(".bin"))


def _is_wildcard(name: str) -> bool:
    """One that an SDK would subscribe to; more of «**» could be made to take for ever."""
    return name.startswith("cw__") and "*" in name and name.count("**") <= _MOST_RUNS


@contextmanager
def _opened(path: Path | str, above: int | None) -> Iterator[int]:
    directory = os.open(path, _DIRECTORY, dir_fd=above)
    try:
        yield directory
    finally:
        os.close(directory)


def _read(directory: int, name: str) -> bytes | None:
    """None: it is gone, or no file, or too large."""
    try:
        file = os.open(name, _FILE, dir_fd=directory)
    except OSError:
        return None
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
        os.close(file)
        return None
    with os.fdopen(file, "rb") as opened:
        return opened.read(_LARGEST)
