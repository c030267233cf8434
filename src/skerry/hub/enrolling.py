"""How a node gets its certificate: once by a token, then again and again by the key that it has. ADR 24.

Between `fleet.nodes`, which knows the nodes, and `trust.authority`, which signs. On a hub whose nodes prove themselves
by their secrets there is no authority, and nothing is signed.
"""

from __future__ import annotations

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey as PublicKey

from skerry.hub.fleet.node_keys import Issued
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.fleet.tokens import WrongToken
from skerry.hub.trust.authority import Authority
from skerry.hub.trust.certificates import key_hash, nanoseconds, requested_key
from skerry.hub.trust.enrolment_rate import EnrolmentRate
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.people import TokenReply
from skerry.wire.sync import Enrol, Enrolled, Hello, HelloReply
from skerry.wire.trust import Renew, Renewed, TrustBundle


def believed(hello: Hello, bundle: TrustBundle) -> int:
    """The number of the bundle that the node has; 0 for one that this hub has never had, whatever its number.

    A bundle is known by its roots. Nodes of before say its number only.
    """
    if hello.trust < bundle.number or not hello.trust_digest:
        return hello.trust
    return bundle.number if hello.trust_digest == bundle.digest else 0


class Enrolling:
    """`authority` is None where nodes have secrets only; `address` is where nodes enrol."""

    def __init__(
        self, nodes: Nodes, authority: Authority | None, address: str, rate: EnrolmentRate
    ) -> None:
        self._rate = rate
        self._nodes = nodes
        self._authority = authority
        self.address = address

    async def enrol(self, request: Enrol, address: str) -> Enrolled:
        """As `Nodes.enrol`, with a certificate for the key of the request. Raises InvalidInput without one.

        `address` is where the request comes from: Busy when too many wrong tokens did.
        """
        self._rate.check(address)
        try:
            return await self._enrol(request)
        except WrongToken:
            self._rate.failed(address)
            raise

    async def _enrol(self, request: Enrol) -> Enrolled:
        authority = self._authority
        if authority is None:
            return await self._nodes.enrol(request)
        if not request.csr:
            raise InvalidInput(
                "cannot enrol the node: its request has no certificate request. This hub's nodes have certificates: "
                "install the hub's version on the device."
            )
        key = requested_key(request.csr)

        def issue(node_id: str) -> Issued:
            return self._issued(authority, key, node_id)

        secret, _, _ = request.token.partition(".")
        request = msgspec.structs.replace(request, token=secret)
        enrolled = await self._nodes.enrol(request, issue)
        return msgspec.structs.replace(enrolled, trust=authority.bundle)

    def token(self, reply: TokenReply) -> TokenReply:
        """The token as people hand it to a device: it says by which root, and where, the device finds this fleet."""
        if self._authority is None:
            return reply
        token = f"{reply.token}.{self._authority.fingerprint}"
        return msgspec.structs.replace(reply, token=token, address=self.address)

    def root(self) -> int:
        """The number of the root that this hub issues under; 0 where nodes have secrets."""
        return self._authority.number if self._authority else 0

    @property
    def authority(self) -> Authority:
        """Raises NotFound on a hub without certificates."""
        return self._required()

    def trust_changed(self) -> None:
        """Another hub process has changed the fleet's roots."""
        if self._authority is not None:
            self._authority.changed.ring()

    @property
    def bundle(self) -> TrustBundle:
        """The roots to believe. Raises NotFound on a hub without certificates."""
        return self._required().bundle

    async def renew(self, node_id: str, request: Renew) -> Renewed:
        """The next certificate for the key that the node has just proved. Raises InvalidInput, Refused, Transient."""
        authority = self._required()
        key = requested_key(request.csr)
        # A new key would be lost with an answer that is lost: the node would have the old one, the hub the new one.
        if self._nodes.keys.known.get(node_id) != key_hash(key):
            raise Refused(
                "cannot renew the certificate: the request is for another key than the node has proved. A new key needs "
                "a new enrolment: skerry token create."
            )
        issued = self._issued(authority, key, node_id)
        await self._nodes.keys.renewed(node_id, issued)
        return Renewed(issued.certificate, authority.bundle)

    async def greeted(self, node_id: str, hello: Hello, reply: HelloReply) -> HelloReply:
        """The reply, with the bundle when the node has another one; notes which one it has."""
        if self._authority is None:
            return reply
        bundle = self._authority.bundle
        has = believed(hello, bundle)
        await self._nodes.keys.told(node_id, has)
        return reply if has >= bundle.number else msgspec.structs.replace(reply, trust=bundle)

    def _required(self) -> Authority:
        if self._authority is None:
            raise NotFound(
                "cannot speak of certificates: this hub's nodes prove themselves by their secrets"
            )
        return self._authority

    @staticmethod
    def _issued(authority: Authority, key: PublicKey, node_id: str) -> Issued:
        leaf, chain = authority.for_node(key, node_id)
        return Issued(
            chain,
            key_hash(key),
            f"{leaf.serial_number:x}",
            nanoseconds(leaf.not_valid_after_utc),
            authority.number,
            authority.bundle.number,
        )
