"""Models that are whole on this device, for workers: what they are, and their files.

A file's address carries its own permission for some minutes, because clients fetch weights without their token.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from aiohttp.web_fileresponse import FileResponse

from skerry.core.cyberwave import schemas
from skerry.kit.clock import NS, Clock
from skerry.node.api import web
from skerry.node.api.answers import json_answer
from skerry.node.contracts.cyberwave_api.asking import SIGNED, grant_in, listed, named, no_such
from skerry.node.contracts.cyberwave_api.catalog import uuid_of
from skerry.node.contracts.cyberwave_api.sources import Sources
from skerry.node.models.layout import FILES, MANIFEST, Entry
from skerry.wire.codec import decode

_VALID_SECONDS = 600
"""To begin with fetching; a fetch itself takes as long as it takes."""


class Models:
    """The routes of models, by both of their names, and of their files."""

    def __init__(self, sources: Sources) -> None:
        self._root = sources.models_root
        self._secret = sources.signing
        self._clock: Clock = sources.clock

    def add_to(self, app: web.Application) -> None:
        """Adds the routes."""
        router = app.router
        for all_of_them in ("/api/v1/mlmodels", "/api/v1/ml-models"):
            router.add_get(all_of_them, self.all)
            router.add_get(f"{all_of_them}/public", self.all)
            router.add_get(f"{all_of_them}/by-slug", self.by_slug)
            router.add_get(f"{all_of_them}/{{model}}", self.get)
            router.add_get(f"{all_of_them}/{{model}}/weights", self.weights)
        router.add_get(f"{SIGNED}{{ends}}/{{sign}}/{{sha256}}/{{name}}", self.file)

    async def all(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        here = query.get("edge_compatible", "true").lower() == "true"
        here &= query.get("deployment", "edge") == "edge"
        wanted = query.get("model_external_id")
        found = [entry for entry in await self._own(request) if wanted in {None, entry.model_id}]
        return listed(request, [_shown(entry) for entry in found] if here else [])

    async def by_slug(self, request: web.Request) -> web.StreamResponse:
        """A model of the fleet's is the one that a slug ends with: it has no workspace here."""
        slug = request.query.get("slug", "")
        for entry in await self._own(request):
            if entry.model_id == slug.rpartition("/")[2]:
                return json_answer(_shown(entry))
        raise no_such("model", slug)

    async def get(self, request: web.Request) -> web.StreamResponse:
        return json_answer(_shown(await self._one(request)))

    async def weights(self, request: web.Request) -> web.StreamResponse:
        entry = await self._one(request)
        first = entry.files[0]
        ends = self._clock.monotonic_ns() // NS + _VALID_SECONDS
        what = f"{first.sha256}/{quote(first.name)}"
        url = f"http://{request.host}{SIGNED}{ends}/{self._sign(ends, first.sha256, first.name)}/{what}"
        return json_answer({"url": url, "signed_url": url, "filename": first.name})

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Whole, or the part that the request asks for."""
        ends, sha256, name = (named(request, each) for each in ("ends", "sha256", "name"))
        valid = ends.isdecimal() and int(ends[:19]) >= self._clock.monotonic_ns() // NS
        sign = self._sign(int(ends[:19]), sha256, name) if valid else ""
        if not valid or not hmac.compare_digest(sign.encode(), named(request, "sign").encode()):
            raise no_such("file", name)
        path = self._root / FILES / sha256
        if not await asyncio.to_thread(path.is_file):
            raise no_such("file", name)
        return FileResponse(path)

    async def _one(self, request: web.Request) -> Entry:
        wanted = named(request, "model")
        for entry in await self._own(request):
            if wanted in {entry.model_id, uuid_of("model", entry.model_id)}:
                return entry
        raise no_such("model", wanted)

    async def _own(self, request: web.Request) -> Sequence[Entry]:
        """Workers have all models of the device beside them anyway; drivers are given none."""
        if grant_in(request).role != "worker":
            return ()
        return await asyncio.to_thread(_entries, self._root)

    def _sign(self, ends: int, sha256: str, name: str) -> str:
        return hmac.digest(self._secret, f"{ends} {sha256} {name}".encode(), "sha256").hex()


def _entries(root: Path) -> Sequence[Entry]:
    path = root / MANIFEST
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return ()
    return list(decode(text, dict[str, Entry], str(path)).values())


def _shown(entry: Entry) -> dict[str, object]:
    first = entry.files[0]
    body: dict[str, object] = {
        "name": entry.model_id,
        "slug": entry.model_id,
        "model_external_id": entry.model_id,
        "edge_catalog_id": entry.model_id,
        "edge_runtime": entry.runtime or None,
        "created_at": entry.downloaded_at,
        "updated_at": entry.downloaded_at,
        "metadata": {
            "runtime": entry.runtime,
            "filename": first.name,
            "size_bytes": first.size,
            "checksum_sha256": first.sha256,
        },
    }
    return schemas.completed(schemas.ML_MODEL, uuid_of("model", entry.model_id), body)
