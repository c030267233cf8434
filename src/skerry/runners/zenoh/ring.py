"""The last minutes of some channels, on the disk in pieces, from which an event makes one recording.

A piece holds entries of one channel as the SDK's recordings have them: f64 time, u32 length, bytes of the sample. Where
the node encrypts what it stores, pieces are sealed with a key that only this process has: they end with it.
"""

from __future__ import annotations

import collections
import os
import shutil
import struct
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from skerry.kit.sealing.cipher import Cipher, Place
from skerry.kit.sealing.stream import StreamSealer, open_stream
from skerry.runners.zenoh.endings import say
from skerry.runners.zenoh.rules import Channel

PIECE_SECONDS = 10.0
PIECE_SIZE = 16 * 1024 * 1024
MOST_OPEN = 64
"""Files; a channel beyond them begins a new piece with its next sample."""

_ENTRY = struct.Struct("<dI")
_READ = 256 * 1024


class Piece:
    """Some entries of a channel. `first` and `last` are seconds since 1970, `size` counts plain bytes.

    Its age goes by `began` and `ended`, in monotonic seconds: the device's clock may be set meanwhile.
    """

    def __init__(
        self, channel: str, path: Path, at: float, now: float, cipher: Cipher | None
    ) -> None:
        self.channel = channel
        self.first = self.last = at
        self.began = self.ended = now
        self.count = 0
        self.size = 0
        self.users = 0
        """Recordings that are being made of it."""
        self._path = path
        self._cipher = cipher
        self._place = Place("ring", "piece", (path.name,))
        self._sealer = StreamSealer(cipher, self._place) if cipher else None
        self._file: BinaryIO | None = path.open("xb")

    @property
    def is_open(self) -> bool:
        """Whether entries may be added."""
        return self._file is not None

    def add(self, at: float, now: float, framed: bytes) -> None:
        """Raises OSError: then it is of no use any more."""
        entry = _ENTRY.pack(at, len(framed)) + framed
        self._write(self._sealer.add(entry) if self._sealer else entry)
        self.first, self.last = min(self.first, at), max(self.last, at)
        self.ended = now
        self.count += 1
        self.size += len(entry)

    def end(self) -> None:
        """No more entries. Raises OSError."""
        if self._file is not None:
            if self._sealer:
                self._write(self._sealer.end())
            self._file.close()
            self._file = None

    def content(self) -> Iterator[bytes]:
        """Of one that has ended."""
        with self._path.open("rb") as file:
            sealed = iter(lambda: file.read(_READ), b"")
            yield from open_stream(sealed, self._cipher, self._place) if self._cipher else sealed

    def remove(self) -> None:
        """Also one that is damaged."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        assert self._file  # noqa: S101 - entries are added before the end only
        self._file.write(data)


class Ring:
    """What is younger than `seconds`, the oldest of it let go beyond `size` bytes; `now` is monotonic. From any thread."""

    def __init__(
        self,
        directory: Path,
        seconds: float,
        size: int,
        now: Callable[[], float],
        cipher: Cipher | None = None,
    ) -> None:
        """Nothing that is in `directory` counts any more. Raises OSError."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700, parents=True)
        self._directory = directory
        self._seconds = seconds
        self._size = size
        self._now = now
        self._cipher = cipher
        self._lock = threading.Lock()
        self._pieces: collections.deque[Piece] = collections.deque()
        self._open: dict[str, Piece] = {}
        self._held = 0
        self._number = 0
        self._trouble: str | None = None

    def add(self, channel: Channel, at: float, framed: bytes) -> None:
        """Never raises: what cannot be written is told in the log, once."""
        with self._lock:
            try:
                self._add(channel.name, at, framed)
                self._trouble = None
            except OSError as error:
                self._let_go(self._open.pop(channel.name, None))
                if error.strerror != self._trouble:
                    self._trouble = error.strerror
                    say(f"cannot keep {channel.name} for recordings: {error}")

    def cut(self, fits: Callable[[str], bool]) -> list[Piece]:
        """What there is now of the channels that fit, oldest first. It stays until `release`."""
        with self._lock:
            for channel in filter(fits, [*self._open]):
                self._end(channel)
            self._forget()
            found = [piece for piece in self._pieces if fits(piece.channel)]
            for piece in found:
                piece.users += 1
            return found

    def release(self, pieces: Collection[Piece]) -> None:
        """A recording is made, or given up."""
        with self._lock:
            for piece in pieces:
                piece.users -= 1
                if not piece.users and piece not in self._pieces:
                    piece.remove()

    def _add(self, name: str, at: float, framed: bytes) -> None:
        piece, now = self._open.get(name), self._now()
        if piece and (now - piece.began > PIECE_SECONDS or piece.size > PIECE_SIZE):
            self._end(name)
            piece = None
        if piece is None:
            if len(self._open) >= MOST_OPEN:
                self._end(next(iter(self._open)))
            self._number += 1
            piece = Piece(name, self._directory / str(self._number), at, now, self._cipher)
            self._pieces.append(piece)
            self._open[name] = piece
        before = piece.size
        piece.add(at, now, framed)
        self._held += piece.size - before
        self._forget()

    def _end(self, name: str) -> None:
        piece = self._open.pop(name)
        try:
            piece.end()
        except OSError as error:
            say(f"cannot keep {name} for recordings: {error}")
            self._let_go(piece)

    def _forget(self) -> None:
        """Pieces stand in the order of their beginnings, so the first one is the oldest."""
        while self._pieces and (
            self._held > self._size or self._pieces[0].ended < self._now() - self._seconds
        ):
            oldest = self._pieces[0]
            if self._open.get(oldest.channel) is oldest:
                del self._open[oldest.channel]
            self._let_go(oldest)

    def _let_go(self, piece: Piece | None) -> None:
        if piece is None:
            return
        self._pieces.remove(piece)
        self._held -= piece.size
        if not piece.users:
            piece.remove()


def own_cipher() -> Cipher:
    """With a key of its own, which nothing else ever has."""
    from skerry.kit.sealing.sealed import InForce, KeyInUse, SealingCipher, aead  # noqa: PLC0415 - 9 MB

    key = KeyInUse(1, aead("AES-256-GCM", os.urandom(32)))
    return SealingCipher(InForce(key, {1: key}, plain=False))
