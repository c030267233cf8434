"""A real hub in this process, on a free loopback port: real store, real web server, nothing faked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp

from skerry.core.credentials import random_secret, secret_hash
from skerry.hub.server import serve
from skerry.hub.settings import (
    AccessSection,
    EncryptionSection,
    HubSettings,
    RetentionSection,
    StorageEncryption,
    StorageSection,
)
from skerry.hub.web_server import Keepalive
from skerry.kit.reception import RequestLimits
from skerry.wire.access import AccessTokenReply, AccessTokenRequest
from skerry.wire.codec import decode, encode
from skerry.wire.people import TokenReply, TokenRequest
from skerry.wire.sync import Enrol, Enrolled

T = TypeVar("T")


class EnrolledNode(Enrolled, frozen=True, kw_only=True):
    """A node as a test knows it: with its secret."""

    secret: str


@dataclass(frozen=True)
class RunningHub:
    """Where the hub answers, and how its administrator and its nodes authenticate."""

    address: str
    admin_token: str

    @property
    def person(self) -> dict[str, str]:
        """Headers of the administrator."""
        return {"Authorization": f"Bearer {self.admin_token}"}

    @staticmethod
    def node(enrolled: EnrolledNode) -> dict[str, str]:
        """Headers of an enrolled node."""
        return {"Authorization": f"Bearer {enrolled.node_id}.{enrolled.secret}"}

    async def enrol(self, name: str, labels: dict[str, str] | None = None) -> EnrolledNode:
        """A new node, by the same way as a real one: a token, then the enrolment."""
        async with aiohttp.ClientSession(self.address) as session:
            token = await _post(
                session, "/api/v1/tokens", TokenRequest(600.0), TokenReply, self.person
            )
            secret = random_secret()
            enrol = Enrol(token.token, name, labels or {}, "0.1.0", secret_hash(secret))
            found = await _post(session, "/enrol/v1", enrol, Enrolled, {})
            return EnrolledNode(found.node_id, found.name, found.hub_id, secret=secret)

    async def access_token(self, name: str, role: str, ttl: float = 3600.0) -> dict[str, str]:
        """Headers of somebody with a new API token."""
        async with aiohttp.ClientSession(self.address) as session:
            asked = AccessTokenRequest(name, role, ttl)
            made = await _post(
                session, "/api/v1/access/tokens", asked, AccessTokenReply, self.person
            )
            return {"Authorization": f"Bearer {made.token}"}


@contextlib.asynccontextmanager
async def running_hub(  # noqa: PLR0913 - what a hub is set up with
    data_dir: Path,
    *,
    keepalive: Keepalive | None = None,
    limits: RequestLimits | None = None,
    hosts: str | None = None,
    database: str | None = None,
    storage: StorageSection | None = None,
    encryption: StorageEncryption | None = None,
    access: AccessSection | None = None,
) -> AsyncIterator[RunningHub]:
    """The hub runs within the block; on leaving it ends as on SIGTERM."""
    day = 86_400.0
    settings = HubSettings(
        data_dir=data_dir,
        listen="127.0.0.1:0",
        database=database,
        fleet="test",
        retention=RetentionSection(measurements=day, events=day, gaps=day, files=day),
        hosts=hosts,
        storage=storage or StorageSection(),
        encryption=EncryptionSection(encryption or StorageEncryption()),
        access=access or AccessSection(),
    )
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(settings, address.set_result, keepalive=keepalive or Keepalive(), limits=limits),
        name="hub",
    )
    task.add_done_callback(lambda _: address.cancel())
    try:
        await asyncio.wait([address])
        if address.cancelled():
            await task
        yield RunningHub(address.result(), (data_dir / "admin.token").read_text().strip())
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _post(
    session: aiohttp.ClientSession,
    path: str,
    body: object,
    kind: type[T],
    headers: dict[str, str],
) -> T:
    async with session.post(path, data=encode(body), headers=headers) as response:
        data = await response.read()
        assert response.status == 200, data
        return decode(data, kind, path)
