"""The objects that blobs in a bucket of an S3-compatible server consist of, by name.

    ab/cdef…               a blob, by the SHA-256 of its content; ab/cdef….sealed is a sealed one
    parts/ab/cdef…/OFFSET  a piece of an upload, with its offset in the content; parts/ab/cdef….sealed/OFFSET

`s3_blobs` and `sealed_s3_blobs` make blobs of them. Objects with other names are somebody else's and not seen.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from skerry.kit.errors import NotFound, Transient
from skerry.kit.one_line import one_line

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Config

T = TypeVar("T")

_PARTS, _SEALED = "parts/", ".sealed"
_NAME = re.compile(r"(parts/)?([0-9a-f]{2})/([0-9a-f]{62})(\.sealed)?(?:/(\d{20}))?")
_PART = 8 * 1024 * 1024
"""Bytes of one part of a multipart upload; S3 wants 5 MiB at least and takes 10,000 of them."""


class Name(NamedTuple):
    """Of an object. `offset`: it is the piece of an upload that begins there; None: it is a whole blob."""

    sha256: str
    sealed: bool = False
    offset: int | None = None


def path_of(name: Name) -> str:
    """Where the object lies below the bucket's prefix."""
    blob = f"{name.sha256[:2]}/{name.sha256[2:]}{_SEALED if name.sealed else ''}"
    return blob if name.offset is None else f"{_PARTS}{blob}/{name.offset:020}"


def name_of(path: str) -> Name | None:
    """The inverse of `path_of`; None: it is none of ours."""
    found = _NAME.fullmatch(path)
    if found is None:
        return None
    parts, directory, rest, sealed, offset = found.groups()
    if (parts is None) != (offset is None):
        return None
    return Name(directory + rest, sealed is not None, None if offset is None else int(offset))


class Stored(NamedTuple):
    """An object that is there: `size` in bytes, `changed` in ns since 1970; what is written anew has another `tag`."""

    name: Name
    size: int
    changed: int
    tag: str | None


@dataclass(frozen=True)
class Bucket:
    """A prefix of a bucket. Without a key the machine's own role counts; without an endpoint it is Amazon's."""

    name: str
    prefix: str
    endpoint: str | None
    region: str
    access_key: str | None
    secret_key: str | None


class S3Objects:
    """All objects below one prefix. Every call raises Transient when the server cannot do it now."""

    def __init__(self, bucket: Bucket) -> None:
        config: S3Config = {"region": bucket.region}
        if bucket.endpoint:
            config["endpoint"] = bucket.endpoint
        if bucket.access_key and bucket.secret_key:
            config["access_key_id"] = bucket.access_key
            config["secret_access_key"] = bucket.secret_key
        self._store = S3Store(
            bucket.name,
            prefix=bucket.prefix,
            config=config,
            client_options={
                "allow_http": True,
                "timeout": timedelta(seconds=60),
                "connect_timeout": timedelta(seconds=5),
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
        )

    async def find(self, name: Name) -> Stored | None:
        """What there is under this name."""
        try:
            found = await _told(obstore.head_async(self._store, path_of(name)), "find", name)
        except NotFound:
            return None
        return _stored(name, found)

    async def every(self) -> AsyncIterator[Stored]:
        """All objects, in the order of their paths."""
        async for each in self._list(None):
            yield each

    async def pieces(self, sha256: str, *, sealed: bool, overhead: int = 0) -> list[Stored]:
        """The pieces of an upload that follow each other from the beginning; each is `overhead` bytes longer than its content."""
        sizes: dict[int | None, Stored] = {}
        prefix = path_of(Name(sha256, sealed, 0)).rpartition("/")[0] + "/"
        async for each in self._list(prefix):
            sizes[each.name.offset] = each
        pieces: list[Stored] = []
        offset = 0
        while (piece := sizes.get(offset)) is not None and piece.size > overhead:
            pieces.append(piece)
            offset += piece.size - overhead
        return pieces

    async def get(self, name: Name) -> bytes:
        """All of an object. Raises NotFound."""
        got = await _told(obstore.get_async(self._store, path_of(name)), "read", name)
        return bytes(await _told(got.bytes_async(), "read", name))

    async def get_range(self, name: Name, start: int, end: int) -> bytes:
        """Its bytes from `start` to before `end`, which is after `start`. Raises NotFound."""
        asked = obstore.get_range_async(self._store, path_of(name), start=start, end=end)
        return bytes(await _told(asked, "read", name))

    async def put(self, name: Name, content: bytes | AsyncIterator[bytes]) -> None:
        """Writes an object whole, or not at all when `content` raises."""
        put = obstore.put_async(self._store, path_of(name), content, chunk_size=_PART)
        await _told(put, "keep", name)

    async def delete(self, names: Iterable[Name]) -> None:
        """Those that are there."""
        for name in names:
            with contextlib.suppress(NotFound):
                await _told(obstore.delete_async(self._store, path_of(name)), "remove", name)

    async def delete_pieces(self, sha256: str, *, sealed: bool) -> None:
        """All pieces of an upload, also those after a gap."""
        prefix = path_of(Name(sha256, sealed, 0)).rpartition("/")[0] + "/"
        await self.delete([each.name async for each in self._list(prefix)])

    async def _list(self, prefix: str | None) -> AsyncIterator[Stored]:
        try:
            async for found in obstore.list(self._store, prefix):
                for each in found:
                    name = name_of(each["path"])
                    if name is not None:
                        yield _stored(name, each)
        except (BaseError, OSError) as error:
            raise Transient(f"cannot list the bucket: {_cause(error)}") from error


def _stored(name: Name, found: ObjectMeta) -> Stored:
    changed = int(found["last_modified"].timestamp() * 1e9)
    return Stored(name, found["size"], changed, found["e_tag"])


async def _told(asked: Awaitable[T], verb: str, name: Name) -> T:
    """The server's answer; its errors in our words."""
    sentence = f"cannot {verb} blob {name.sha256[:12]}…"
    try:
        return await asked
    except FileNotFoundError as error:
        raise NotFound(f"{sentence}: the hub does not have it") from error
    except (BaseError, OSError) as error:
        raise Transient(f"{sentence}: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    return one_line(str(error).partition("Debug source")[0])[:300]
