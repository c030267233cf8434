"""A real hub in this process, on a free loopback port: real store, real web server, nothing faked."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateSigningRequestBuilder, Name

from skerry.core.credentials import random_secret, secret_hash
from skerry.hub.access_settings import TlsSection
from skerry.hub.server import serve
from skerry.hub.settings import (
    AccessSection,
    EncryptionSection,
    HubSettings,
    NodesSection,
    RetentionSection,
    StorageEncryption,
    StorageSection,
)
from skerry.hub.trust.certificates import key_pem, make_key
from skerry.hub.trust.server_tls import NO_CHECK_TIME
from skerry.hub.web_server import Keepalive
from skerry.kit.clock import Clock
from skerry.kit.reception import RequestLimits
from skerry.testing.prepared import put_tables
from skerry.wire.access import AccessTokenReply, AccessTokenRequest
from skerry.wire.codec import decode, encode
from skerry.wire.people import TokenReply, TokenRequest
from skerry.wire.sync import Enrol, Enrolled
from skerry.wire.trust import TrustBundle

T = TypeVar("T")


class EnrolledNode(Enrolled, frozen=True, kw_only=True):
    """A node as a test knows it: with its secret."""

    secret: str


@dataclass(frozen=True)
class CertifiedNode:
    """A node with a certificate as a test knows it."""

    node_id: str
    name: str
    secret: str
    key: EllipticCurvePrivateKey
    certificate: str
    trust: TrustBundle

    def session(self, hub: RunningHub, certificate: str = "") -> aiohttp.ClientSession:
        """A client that proves this certificate, or another one for the same key."""
        context = client_context(self.trust.roots, certificate or self.certificate, self.key)
        return secure_session(hub.nodes_address, context)


def csr_of(key: EllipticCurvePrivateKey) -> str:
    """A request for a certificate for this key (PEM)."""
    built = CertificateSigningRequestBuilder().subject_name(Name([]))
    return built.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def client_context(
    roots: list[str], certificate: str = "", key: EllipticCurvePrivateKey | None = None
) -> ssl.SSLContext:
    """TLS as a node speaks it, but for dates: whom it talks to is decided by the roots alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= NO_CHECK_TIME
    context.load_verify_locations(cadata="".join(roots))
    if key is not None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(key_pem(key) + certificate.encode())
            file.flush()
            context.load_cert_chain(file.name)
    return context


def secure_session(address: str, context: ssl.SSLContext) -> aiohttp.ClientSession:
    """A client for the hub's listener for nodes."""
    return aiohttp.ClientSession(address, connector=aiohttp.TCPConnector(ssl=context))


@dataclass(frozen=True)
class RunningHub:
    """Where the hub answers, and how its administrator and its nodes authenticate."""

    address: str
    admin_token: str
    nodes_address: str = ""
    """Where nodes are served: with certificates by a listener of their own; empty: at `address`, by their secrets."""

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

    async def token(self, asked: TokenRequest | None = None) -> TokenReply:
        """A token for enrolment."""
        async with aiohttp.ClientSession(self.address) as session:
            wanted = asked or TokenRequest(600.0)
            return await _post(session, "/api/v1/tokens", wanted, TokenReply, self.person)

    async def certify(
        self,
        name: str,
        token: str = "",
        *,
        labels: dict[str, str] | None = None,
        hardware: str = "",
        secret: str = "",
        key: EllipticCurvePrivateKey | None = None,
    ) -> CertifiedNode:
        """A node with a certificate, where nodes have those: a new one, or the one with this secret again."""
        token = token or (await self.token()).token
        secret, key = secret or random_secret(), key or make_key()
        enrol = Enrol(
            token,
            name,
            labels or {},
            "0.1.0",
            secret_hash(secret),
            csr=csr_of(key),
            hardware=hardware,
            secret=secret,
        )
        async with secure_session(
            self.nodes_address, client_context(await self.roots())
        ) as session:
            found = await _post(session, "/enrol/v1", enrol, Enrolled, {})
        assert found.trust is not None
        return CertifiedNode(found.node_id, found.name, secret, key, found.certificate, found.trust)

    async def roots(self) -> list[str]:
        """The roots that the hub shows to whoever asks, without any check."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        async with (
            secure_session(self.nodes_address, context) as session,
            session.get("/trust/v1/bundle") as response,
        ):
            return decode(await response.read(), TrustBundle, "bundle").roots

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
    method: Literal["certificate", "secret"] = "secret",
    clock: Clock | None = None,
    tls: TlsSection | None = None,
    listen: str = "127.0.0.1:0",
) -> AsyncIterator[RunningHub]:
    """The hub runs within the block; on leaving it ends as on SIGTERM."""
    day = 86_400.0
    settings = HubSettings(
        data_dir=data_dir,
        listen=listen,
        database=database,
        fleet="test",
        retention=RetentionSection(measurements=day, events=day, gaps=day, files=day),
        nodes=NodesSection("127.0.0.1:0", method),
        hosts=hosts,
        storage=storage or StorageSection(),
        encryption=EncryptionSection(encryption or StorageEncryption()),
        access=access or AccessSection(),
        tls=tls or TlsSection(),
    )
    if database is None:
        put_tables(data_dir / "hub.db")
    nodes_address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(
            settings,
            address.set_result,
            nodes_address.set_result,
            keepalive=keepalive or Keepalive(),
            limits=limits,
            clock=clock,
        ),
        name="hub",
    )
    task.add_done_callback(lambda _: address.cancel())
    try:
        await asyncio.wait([address])
        if address.cancelled():
            await task
        token = (data_dir / "admin.token").read_text().strip()
        yield RunningHub(address.result(), token, nodes_address.result())
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
