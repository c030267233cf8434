"""What the hub's features need from outside, in their own words. `hub.store.open_blobs` says who keeps blobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from typing import Protocol, runtime_checkable

from skerry.wire.models import BlobState


class Blobs(Protocol):
    """Files by the SHA-256 of their content. What can be read is whole and is what its name says."""

    async def state(self, sha256: str) -> BlobState:
        """How much of it is here."""
        ...

    async def add(self, sha256: str, offset: int, size: int, data: bytes) -> BlobState:
        """Takes the piece at `offset` of a blob of `size` bytes, durably; one that does not fit changes nothing.

        The answer says from where to go on. Raises InvalidInput when the whole is not what its name says (it is
        forgotten then), StorageFull.
        """
        ...

    async def size(self, sha256: str) -> int | None:
        """Bytes of a complete blob; None: there is none."""
        ...

    def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end` of a complete blob. Raises NotFound."""
        ...

    async def remove(self, sha256: str) -> None:
        """Forgets a blob or what has come of it; one that is not here is fine."""
        ...

    async def sweep(self, keep: Collection[str], older_than: int) -> int:
        """Removes what is not in `keep` and was last written before `older_than` (ns since 1970); returns how many."""
        ...


@runtime_checkable
class SealedBlobs(Protocol):
    """What `Blobs` that are sealed offer besides."""

    def seal_plain(self) -> AsyncGenerator[str, None]:
        """Seals blobs that were kept plain before, and gives their names, each when it is done.

        What had come of plain uploads is forgotten: it comes again. A caller may stop; the next call goes on.
        """
        ...
