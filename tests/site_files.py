"""Files of a whole installation: uploaded by a workload of a node, looked for at the hub."""

from __future__ import annotations

import asyncio

from tests.installation import Installation, Node

from skerry.sdk.client import Client
from skerry.sdk.content import Content
from skerry.wire.files import FileList, FileRef, FileView
from skerry.wire.records import PublishedRecord


async def upload(node: Node, data: bytes, name: str = "cam/a.bin") -> FileRef:
    client: Client = node.publisher("cam")
    record = PublishedRecord(name, "", None, {"lens": "wide"})
    return await asyncio.to_thread(client.upload, Content(data), record, 30)


async def listed(site: Installation, limit: int = 100) -> list[FileView]:
    async with site.hub.api() as api:
        return (await api.get(f"/api/v1/files?limit={limit}", FileList)).files


async def arrived(site: Installation, sha: str) -> bool:
    return any(file.sha256 == sha and file.complete for file in await listed(site))


def blob(site: Installation, sha: str) -> bytes:
    return (site.hub.directory / "files" / sha[:2] / sha[2:]).read_bytes()
