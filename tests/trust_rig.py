"""A fleet's certificates, made here, and a small hub behind TLS that gives them out: what a node meets, without our hub."""

import datetime
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from skerry.kit.clock import NS
from skerry.node.trust.certificate import fingerprint
from skerry.node.trust.tls import NO_CHECK_TIME
from skerry.wire.codec import decode, encode
from skerry.wire.people import Problem
from skerry.wire.sync import Enrol, Enrolled, Hello, HelloReply
from skerry.wire.trust import Renew, Renewed, TrustBundle

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
HOUR = 3600
DAY = 24 * HOUR
NOW = 1_800_000_000
"""Seconds since 1970: what time it is in these tests, whatever the machine says."""


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


class Authority:
    """A root and its intermediate, at a time of its own."""

    def __init__(self, name: str = "fleet", now: float = NOW, days: int = 365) -> None:
        self.now = now
        self._root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in "12")
        root = self._sign(name, name, self._root_key.public_key(), self._root_key, ca=1, days=3650)
        self.intermediate = self._sign(
            f"{name} 1", name, self._key.public_key(), self._root_key, ca=0, days=days
        )
        self.name = f"{name} 1"
        self.root = pem(root)
        self.fingerprint = fingerprint(root.public_bytes(Encoding.DER))

    def leaf(
        self,
        key: ec.EllipticCurvePublicKey,
        usage: ObjectIdentifier | None,
        *,
        begins: float | None = None,
        life: float = 72 * HOUR,
    ) -> str:
        """Leaf and intermediate."""
        begins = self.now - 300 if begins is None else begins
        made = self._sign("leaf", self.name, key, self._key, usage=usage, begins=begins, life=life)
        return pem(made) + pem(self.intermediate)

    def server(self, usage: ObjectIdentifier | None = SERVER, **dates: float) -> bytes:
        """Key and chain of a hub."""
        key = ec.generate_private_key(ec.SECP256R1())
        return private(key) + self.leaf(key.public_key(), usage, **dates).encode()

    def leaf_of_another(self) -> str:
        """A hub's chain without its key."""
        return self.leaf(ec.generate_private_key(ec.SECP256R1()).public_key(), SERVER)

    def _sign(
        self,
        subject: str,
        issuer: str,
        key: ec.EllipticCurvePublicKey,
        by: ec.EllipticCurvePrivateKey,
        *,
        ca: int | None = None,
        usage: ObjectIdentifier | None = None,
        days: float = 0,
        begins: float | None = None,
        life: float = 0,
    ) -> x509.Certificate:
        begins = self.now - 300 if begins is None else begins
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_moment(begins))
            .not_valid_after(_moment(begins + (life or days * DAY)))
            .add_extension(x509.BasicConstraints(ca is not None, ca), critical=True)
        )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(by, hashes.SHA256())


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def server_context(own: bytes, roots: str, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """What a hub listens with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = version or ssl.TLSVersion.TLSv1_3
    context.maximum_version = version or ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= NO_CHECK_TIME
    context.load_verify_locations(cadata=roots)
    descriptor = os.memfd_create("hub")
    os.write(descriptor, own)
    context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    os.close(descriptor)
    return context


@dataclass
class SmallHub:
    """Gives certificates as the real one does. `bundle` is what it tells; `life` that of what it gives, in seconds."""

    authority: Authority
    token: str = "word"
    life: float = 72 * HOUR
    bundle: TrustBundle = field(init=False)
    port: int = 0
    hardware: str = ""
    """What the last one who asked said."""
    enrolled: dict[str, str] = field(default_factory=dict)
    """Node ids by the hash of their secret."""
    keys: dict[str, bytes] = field(default_factory=dict)
    """The node's key by its id."""
    hellos: list[Hello] = field(default_factory=list)
    renewals: int = 0
    refuse_hello: bool = False
    swallow: int = 0
    """Answers that are lost from now on."""

    def __post_init__(self) -> None:
        self.bundle = TrustBundle(1, [self.authority.root])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def pinned(self) -> str:
        """The token as people pass it on."""
        return f"{self.token}.{self.authority.fingerprint}"

    async def _bundle(self, _request: web.Request) -> web.Response:
        return web.Response(body=encode(self.bundle))

    async def _enrol(self, request: web.Request) -> web.Response:
        asked = decode(await request.read(), Enrol, "enrol")
        self.hardware = asked.hardware
        if asked.token != self.token:
            return problem(403, "cannot enrol: the token is wrong")
        node = self.enrolled.setdefault(
            asked.secret_hash, asked.former_id or f"n{len(self.enrolled)}"
        )
        return self._answer(
            request,
            Enrolled(node, asked.name, "hub-1", certificate=self._certified(node, asked.csr), trust=self.bundle),
        )  # fmt: skip

    async def _renew(self, request: web.Request) -> web.Response:
        node = self._node(request)
        if node is None:
            return problem(401, "who are you?")
        self.renewals += 1
        asked = decode(await request.read(), Renew, "renew")
        return self._answer(request, Renewed(self._certified(node, asked.csr), self.bundle))

    async def _hello(self, request: web.Request) -> web.Response:
        node = self._node(request)
        if node is None or self.refuse_hello:
            return problem(401, "the certificate is none of a node here, or has ended")
        hello = decode(await request.read(), Hello, "hello")
        self.hellos.append(hello)
        same = (hello.trust, hello.trust_digest) == (self.bundle.number, self.bundle.digest)
        trust = None if same else self.bundle
        reply = HelloReply(1, "hub-1", 1, int(self.authority.now) * NS, {}, {}, trust=trust)
        return web.Response(body=encode(reply))

    def _certified(self, node: str, csr: str) -> str:
        request = x509.load_pem_x509_csr(csr.encode())
        assert request.is_signature_valid
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.keys[node] = _spki(key)
        return self.authority.leaf(key, CLIENT, life=self.life)

    def _node(self, request: web.Request) -> str | None:
        assert request.transport is not None
        der = request.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        if not der:
            return None
        key = x509.load_der_x509_certificate(der).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return next((node for node, held in self.keys.items() if held == _spki(key)), None)

    def _answer(self, request: web.Request, reply: object) -> web.Response:
        if self.swallow:
            self.swallow -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(body=encode(reply))


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def problem(status: int, words: str) -> web.Response:
    return web.Response(status=status, body=encode(Problem(words)))


@asynccontextmanager
async def small_hub(
    authority: Authority | None = None, context: ssl.SSLContext | None = None, **fields: float
) -> AsyncIterator[SmallHub]:
    hub = SmallHub(authority or Authority(), **fields)  # type: ignore[arg-type]
    app = web.Application()
    app.router.add_get("/trust/v1/bundle", hub._bundle)
    app.router.add_post("/trust/v1/renew", hub._renew)
    app.router.add_post("/enrol/v1", hub._enrol)
    app.router.add_post("/sync/v1/hello", hub._hello)
    runner = web.AppRunner(app)
    await runner.setup()
    context = context or server_context(hub.authority.server(), hub.authority.root)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    hub.port = runner.addresses[0][1]
    try:
        yield hub
    finally:
        await runner.cleanup()
