"""A recording as one file: a tar of what the SDK's `replay` reads, made anew from the ring's pieces each time it is read."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from skerry.runners.zenoh.ring import Piece

_VERSION = 1
_BLOCK = 512


class Recording:
    """`about` stands in its manifest; `at` is the event's time in ns since 1970."""

    def __init__(self, pieces: Iterable[Piece], about: Mapping[str, Any], at: int) -> None:
        self._channels: dict[str, list[Piece]] = {}
        for piece in pieces:
            self._channels.setdefault(piece.channel, []).append(piece)
        self._about = about
        self._at = at

    @property
    def samples(self) -> int:
        return sum(piece.count for pieces in self._channels.values() for piece in pieces)

    @property
    def channels(self) -> list[str]:
        """Their keys."""
        return sorted(self._channels)

    def open(self) -> BinaryIO:
        """The same bytes each time."""
        return io.BufferedReader(_Chunks(self._tar()), _BLOCK * 128)

    def _tar(self) -> Iterator[bytes]:
        manifest = self._manifest()
        yield from self._member("manifest.json", len(manifest), [manifest])
        for channel in self.channels:
            pieces = self._channels[channel]
            name = f"{channel.replace('/', '__')}.bin"
            content = (part for piece in pieces for part in piece.content())
            yield from self._member(name, sum(piece.size for piece in pieces), content)
        yield bytes(2 * _BLOCK)

    def _member(self, name: str, size: int, content: Iterable[bytes]) -> Iterator[bytes]:
        head = tarfile.TarInfo(name)
        head.size = size
        head.mtime = self._at // 1_000_000_000
        yield head.tobuf(tarfile.GNU_FORMAT)
        yield from content
        yield bytes(-size % _BLOCK)

    def _manifest(self) -> bytes:
        every = [piece for pieces in self._channels.values() for piece in pieces]
        return json.dumps(
            {
                "version": _VERSION,
                "channels": self.channels,
                "start_ts": min(piece.first for piece in every),
                "end_ts": max(piece.last for piece in every),
                "sample_count": self.samples,
                "metadata": self._about,
            },
            indent=2,
        ).encode()


class _Chunks(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever bytes can be put into
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
