"""Blobs in a bucket of an S3-compatible server: `ab/cdef…` by the SHA-256 of the content.

Implements `hub.ports.Blobs`. The pieces of an upload are objects `parts/ab/cdef…/OFFSET`; when the last one has come,
they become one object by a multipart upload that ends only when its hash is right. Nothing but the bucket has
state, so any number of hubs may use one.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from skerry.kit.errors import InvalidInput, NotFound, Transient
from skerry.kit.named_locks import NamedLocks
from skerry.kit.one_line import one_line
from skerry.wire.models import BlobState

if TYPE_CHECKING:
    from obstore.store import S3Config

T = TypeVar("T")

_PARTS = "parts"
_PIECE = 8 * 1024 * 1024
"""Bytes of one part of a multipart upload; S3 wants 5 MiB at least and takes 10,000 of them."""

_READ = 1024 * 1024


@dataclass(frozen=True)
class Bucket:
    """A prefix of a bucket. Without a key the machine's own role counts; without an endpoint it is Amazon's."""

    name: str
    prefix: str
    endpoint: str | None
    region: str
    access_key: str | None
    secret_key: str | None


class S3Blobs:
    """All blobs of one kind."""

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
        self._writing = NamedLocks()

    async def state(self, sha256: str) -> BlobState:
        size = await self.size(sha256)
        if size is not None:
            return BlobState(sha256, size, complete=True)
        pieces = await self._pieces(sha256)
        return BlobState(sha256, sum(size for _, size in pieces), complete=False)

    async def add(self, sha256: str, offset: int, size: int, data: bytes) -> BlobState:
        async with self._writing[sha256]:
            state = await self.state(sha256)
            if state.complete or state.received != offset or offset + len(data) > size:
                return state
            received = offset + len(data)
            if data:
                await _told(
                    obstore.put_async(self._store, _piece(sha256, offset), data), "keep", sha256
                )
            if received < size:
                return BlobState(sha256, received, complete=False)
            await self._complete(sha256)
            return BlobState(sha256, received, complete=True)

    async def size(self, sha256: str) -> int | None:
        try:
            found = await _told(obstore.head_async(self._store, _path(sha256)), "find", sha256)
        except NotFound:
            return None
        return found["size"]

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        if await self.size(sha256) is None:
            raise NotFound(f"cannot read blob {sha256[:12]}…: the hub does not have it")
        while start < end:
            asked = obstore.get_range_async(
                self._store, _path(sha256), start=start, end=min(start + _READ, end)
            )
            piece = bytes(await _told(asked, "read", sha256))
            if not piece:
                raise Transient(f"cannot read blob {sha256[:12]}…: it is shorter than it was")
            start += len(piece)
            yield piece

    async def remove(self, sha256: str) -> None:
        async with self._writing[sha256]:
            await self._delete([_path(sha256)], sha256)
            await self._delete(await self._objects(f"{_PARTS}/{_path(sha256)}/"), sha256)

    async def sweep(self, keep: Collection[str], older_than: int) -> int:
        removed = 0
        async for found in obstore.list(self._store):
            for each in found:
                path = each["path"]
                words = path.removeprefix(f"{_PARTS}/").split("/")
                changed = int(each["last_modified"].timestamp() * 1e9)
                if words[0] + words[1] not in keep and changed < older_than:
                    await self._delete([path], words[0] + words[1])
                    removed += 1
        return removed

    async def _complete(self, sha256: str) -> None:
        """Makes one object of the pieces. Raises InvalidInput when it would be something else."""
        pieces = [_piece(sha256, offset) for offset, _ in await self._pieces(sha256)]
        try:
            whole = self._whole(pieces, sha256)
            await _told(
                obstore.put_async(self._store, _path(sha256), whole, chunk_size=_PIECE),
                "keep",
                sha256,
            )
        except InvalidInput:
            await self._delete(pieces, sha256)
            raise
        await self._delete(pieces, sha256)

    async def _whole(self, pieces: Sequence[str], sha256: str) -> AsyncIterator[bytes]:
        """The pieces in order. An error in here ends the upload, and nothing appears."""
        digest = hashlib.sha256()
        held = b""
        for path in pieces:
            if held:
                yield held
            got = await _told(obstore.get_async(self._store, path), "read", sha256)
            held = bytes(await _told(got.bytes_async(), "read", sha256))
            digest.update(held)
        if (found := digest.hexdigest()) != sha256:
            raise InvalidInput(
                f"cannot keep blob {sha256[:12]}…: what came is {found[:12]}…. Send it again."
            )
        yield held

    async def _pieces(self, sha256: str) -> list[tuple[int, int]]:
        """(offset, size) of the pieces that follow each other from the beginning."""
        prefix = f"{_PARTS}/{_path(sha256)}/"
        sizes: dict[int, int] = {}
        async for found in obstore.list(self._store, prefix):
            sizes |= {int(each["path"].rpartition("/")[2]): each["size"] for each in found}
        pieces = []
        offset = 0
        while sizes.get(offset):
            pieces.append((offset, sizes[offset]))
            offset += sizes[offset]
        return pieces

    async def _objects(self, prefix: str) -> list[str]:
        return [each["path"] async for found in obstore.list(self._store, prefix) for each in found]

    async def _delete(self, paths: Sequence[str], sha256: str) -> None:
        for path in paths:
            with contextlib.suppress(NotFound):
                await _told(obstore.delete_async(self._store, path), "remove", sha256)


def _path(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256[2:]}"


def _piece(sha256: str, offset: int) -> str:
    return f"{_PARTS}/{_path(sha256)}/{offset:020}"


async def _told(asked: Awaitable[T], verb: str, sha256: str) -> T:
    """The server's answer; its errors in our words."""
    try:
        return await asked
    except FileNotFoundError as error:
        raise NotFound(f"cannot {verb} blob {sha256[:12]}…: the hub does not have it") from error
    except (BaseError, OSError) as error:
        cause = one_line(str(error).partition("Debug source")[0])[:300]
        raise Transient(f"cannot {verb} blob {sha256[:12]}…: {cause}") from error
