"""Whoever has stolen the key under the root of before: what it still gets by it."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.installation import Hub, Node
from tests.trust_rig import server_context

from skerry.hub.trust import certificates, files
from skerry.kit.disk import RealDisk
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.identity import read_identity
from skerry.node.trust.files import TrustFiles, key_in
from skerry.testing.running_hub import client_context, secure_session


class Stolen:
    """The hub's present intermediate with its key, and the node's own key; `ahead` is the hub's clock when they are used."""

    def __init__(self, hub: Hub, node: Node, ahead: float) -> None:
        kept = files.TrustFiles(hub.directory, RealDisk()).read()
        assert kept is not None
        assert kept.intermediate is not None
        self._signer, self._root = kept.intermediate, certificates.pem(kept.root)
        self._now = datetime.now(UTC) + timedelta(seconds=ahead)
        self._hub = hub
        self._node = node
        own = TrustFiles(node.directory, RealDisk(), NullCipher()).own()
        assert own is not None
        key = load_pem_private_key(key_in(own), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        self._key = key

    async def node_is_let_in(self) -> bool:
        """Whether the hub listens to that node with a certificate that was made by the stolen key a moment ago."""
        identity = read_identity(self._node.directory)
        leaf = certificates.sign_node(
            self._signer, self._key.public_key(), self._domain, identity.node_id, self._now
        )
        chain = certificates.pem(leaf, self._signer.certificate)
        trusted = TrustFiles(self._node.directory, RealDisk(), NullCipher()).bundle().roots
        context = client_context(trusted, chain, self._key)
        try:
            async with (
                secure_session(self._hub.nodes_url, context) as session,
                session.post("/sync/v1/pull", data=b"{}") as response,
            ):
                return response.status != 401
        except aiohttp.ClientConnectionError:  # the hub ends the handshake
            return False

    async def hub_is_believed(self) -> bool:
        """Whether the node ends its handshake with a hub whose certificate was made by the stolen key a moment ago."""
        key = certificates.make_key()
        leaf = certificates.sign_hub(self._signer, key.public_key(), self._domain, "11", self._now)
        own = certificates.key_pem(key) + certificates.pem(leaf, self._signer.certificate).encode()
        server = await asyncio.start_server(
            lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=server_context(own, self._root)
        )  # fmt: skip
        async with server:
            port = server.sockets[0].getsockname()[1]
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self._node.tls())
            except ssl.SSLCertVerificationError:
                return False
            writer.close()
            return True

    @property
    def _domain(self) -> str:
        return certificates.trust_domain("default")
