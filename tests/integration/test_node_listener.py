"""The listener for nodes, by real sockets: who gets in with which certificate, and who does not."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.route_table import OF_ALL, OF_NODES, ROUTES, ask

from skerry.hub.trust import certificates
from skerry.hub.trust.certificates import Signer, make_key, pem
from skerry.hub.trust.files import TrustFiles
from skerry.kit.disk import RealDisk
from skerry.kit.reception import RequestLimits
from skerry.testing.running_hub import (
    CertifiedNode,
    RunningHub,
    client_context,
    csr_of,
    running_hub,
    secure_session,
)
from skerry.wire.codec import decode, encode
from skerry.wire.sync import Enrol, Hello, HelloReply
from skerry.wire.trust import Renew, Renewed

HELLO = Hello((1, 1), "11" * 16, "0.1.0", "boot-1")


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path, method="certificate") as running:
        yield running


@pytest.fixture
def intermediate(hub: RunningHub, tmp_path: Path) -> Signer:
    kept = TrustFiles(tmp_path, RealDisk()).read()
    assert kept is not None
    assert kept.intermediate is not None
    return kept.intermediate


def certificate_from(
    signer: Signer, node: CertifiedNode, begun: datetime, *, node_id: str = ""
) -> str:
    leaf = certificates.sign_node(
        signer, node.key.public_key(), "test", node_id or node.node_id, begun
    )
    return pem(leaf, signer.certificate)


async def post(session: aiohttp.ClientSession, path: str, body: object) -> tuple[int, bytes]:
    async with session.post(path, data=encode(body)) as response:
        return response.status, await response.read()


async def hello(hub: RunningHub, node: CertifiedNode, certificate: str = "") -> tuple[int, str]:
    async with node.session(hub, certificate) as session:
        status, answer = await post(session, "/sync/v1/hello", HELLO)
        return status, answer.decode()


async def renewal(hub: RunningHub, node: CertifiedNode, certificate: str = "") -> tuple[int, str]:
    async with node.session(hub, certificate) as session:
        status, answer = await post(session, "/trust/v1/renew", Renew(csr_of(node.key)))
        return status, answer.decode()


@pytest.mark.guarantee("G10")
async def test_a_node_with_a_certificate_speaks_to_the_hub(hub: RunningHub) -> None:
    node = await hub.certify("a")
    status, answer = await hello(hub, node)
    assert status == 200
    reply = decode(answer.encode(), HelloReply, "reply")
    assert reply.trust == node.trust


async def test_no_certificate_no_entry(hub: RunningHub) -> None:
    node = await hub.certify("a")
    async with secure_session(hub.nodes_address, client_context(node.trust.roots)) as session:
        headers = {"Authorization": f"Bearer {node.node_id}.{node.secret}"}
        for mine in ({}, headers, hub.person):
            async with session.post("/sync/v1/hello", data=encode(HELLO), headers=mine) as response:
                assert response.status == 401
        async with session.get("/api/v1/nodes", headers=hub.person) as response:
            assert response.status == 404
        async with session.get("/healthz") as response:
            assert response.status == 200


async def test_people_are_served_elsewhere_and_nodes_not_there(hub: RunningHub) -> None:
    node = await hub.certify("a")
    headers = {"Authorization": f"Bearer {node.node_id}.{node.secret}"}
    async with aiohttp.ClientSession(hub.address) as session:
        for path in ("/sync/v1/hello", "/enrol/v1", "/trust/v1/renew"):
            async with session.post(path, data=encode(HELLO), headers=headers) as response:
                assert response.status == 404
                assert hub.nodes_address in await response.text()
        async with session.get("/api/v1/nodes", headers=headers) as response:
            assert response.status == 401


async def refused_by_tls(hub: RunningHub, context: ssl.SSLContext) -> None:
    with pytest.raises((aiohttp.ClientError, OSError)):
        async with secure_session(hub.nodes_address, context) as session:
            await post(session, "/sync/v1/hello", HELLO)


def foreign(node: CertifiedNode) -> str:
    now = datetime.now(UTC)
    root = certificates.make_root("test", now)
    return certificate_from(certificates.make_intermediate(root, "test", now), node, now)


async def test_a_certificate_of_a_foreign_authority(hub: RunningHub) -> None:
    node = await hub.certify("a")
    await refused_by_tls(hub, client_context(node.trust.roots, foreign(node), node.key))


async def test_a_certificate_for_a_server(hub: RunningHub, intermediate: Signer) -> None:
    node = await hub.certify("a")
    now = datetime.now(UTC)
    leaf = certificates.sign_hub(intermediate, node.key.public_key(), "test", node.node_id, now)
    chain = pem(leaf, intermediate.certificate)
    await refused_by_tls(hub, client_context(node.trust.roots, chain, node.key))


async def test_a_node_cannot_play_the_hub(hub: RunningHub, tmp_path: Path) -> None:
    node = await hub.certify("a")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = client_context(node.trust.roots)
    _load(server, node, tmp_path)
    running = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=server)
    async with running:
        port = running.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=client)


def _load(context: ssl.SSLContext, node: CertifiedNode, directory: Path) -> None:
    path = directory / "node.pem"
    path.write_bytes(certificates.key_pem(node.key) + node.certificate.encode())
    context.load_cert_chain(path)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2])
async def test_an_older_tls(hub: RunningHub, version: ssl.TLSVersion) -> None:
    node = await hub.certify("a")
    context = client_context(node.trust.roots, node.certificate, node.key)
    context.maximum_version = version
    await refused_by_tls(hub, context)


async def test_a_certificate_with_another_nodes_name(hub: RunningHub, intermediate: Signer) -> None:
    one, other = await hub.certify("a"), await hub.certify("b")
    now = datetime.now(UTC)
    stolen = certificate_from(intermediate, one, now, node_id=other.node_id)
    status, answer = await hello(hub, one, stolen)
    assert (status, "does not believe this node's key" in answer) == (401, True)


@pytest.mark.parametrize(
    ("begun", "spoken", "renewed", "why"),
    [
        (timedelta(hours=1), 401, 401, "not valid before"),
        (timedelta(hours=-71), 200, 200, ""),
        (timedelta(hours=-73), 401, 200, "may be renewed, and nothing else"),
        (timedelta(days=-92), 401, 200, "may be renewed, and nothing else"),
        (timedelta(days=-94), 401, 401, "too long ago to renew it"),
    ],
)
async def test_when_a_certificate_is_good(
    hub: RunningHub, intermediate: Signer, begun: timedelta, spoken: int, renewed: int, why: str
) -> None:
    node = await hub.certify("a")
    now = datetime.now(UTC)
    held = certificate_from(intermediate, node, now + begun)
    status, answer = await hello(hub, node, held)
    assert (status, why in answer) == (spoken, True)
    status, answer = await renewal(hub, node, held)
    assert status == renewed
    if renewed == 200:
        fresh = decode(answer.encode(), Renewed, "renewed").certificate
        assert (await hello(hub, node, fresh))[0] == 200


async def test_an_expired_certificate_does_nothing_but_renew(
    hub: RunningHub, intermediate: Signer
) -> None:
    node = await hub.certify("a")
    now = datetime.now(UTC)
    held = certificate_from(intermediate, node, now - timedelta(days=10))
    async with node.session(hub, held) as session:
        for method, path in (
            ("POST", "/sync/v1/push"), ("POST", "/sync/v1/pull"), ("POST", "/sync/v1/round"),
            ("GET", "/sync/v1/models"), ("GET", f"/sync/v1/blobs/{'0' * 64}"), ("POST", "/sync/v1/files"),
            ("POST", "/sync/v1/rows/pull"), ("POST", "/sync/v1/rows/buckets"), ("POST", "/sync/v1/rows/wanted"),
        ):  # fmt: skip
            async with session.request(method, path, data=b"{}") as response:
                assert response.status == 401, path
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401|403"):
            await session.ws_connect("/sync/v1/link")


async def test_a_renewal_is_for_the_key_that_is_proved(hub: RunningHub) -> None:
    node = await hub.certify("a")
    async with node.session(hub) as session:
        status, answer = await post(session, "/trust/v1/renew", Renew(csr_of(make_key())))
        assert (status, b"another key" in answer) == (409, True)
        foreign_curve = Renew(csr_of(ec.generate_private_key(ec.SECP384R1())))
        status, answer = await post(session, "/trust/v1/renew", foreign_curve)
        assert (status, b"EC P-256" in answer) == (400, True)


async def test_who_enrols_again_has_a_new_key_and_the_old_one_ends(hub: RunningHub) -> None:
    old = await hub.certify("a")
    new = await hub.certify("a", secret=old.secret)
    assert new.node_id == old.node_id
    assert (await hello(hub, new))[0] == 200
    assert (await hello(hub, old))[0] == 401
    assert (await renewal(hub, old))[0] == 401


async def test_half_a_handshake_is_ended_and_counts(tmp_path: Path) -> None:
    limits = RequestLimits(connections=2, head=1.0, stall=1.0, slowest=1.0)
    async with running_hub(tmp_path, method="certificate", limits=limits) as hub:
        _, _, port = hub.nodes_address.rpartition(":")
        ends = [await asyncio.open_connection("127.0.0.1", int(port)) for _ in range(3)]
        for number, (reader, writer) in enumerate(ends):
            writer.write(b"\x16\x03\x01\x02" if number else b"")
            async with asyncio.timeout(30):
                assert await reader.read() == b""
            writer.close()
        assert (await hello(hub, await hub.certify("a")))[0] == 200


@pytest.mark.parametrize("greeted", [False, True])
async def test_strangers_keep_no_node_out(tmp_path: Path, greeted: bool) -> None:
    """Neither one address that holds all it can, nor many together; and a node that is connected stays so."""
    limits = RequestLimits(connections=8, head=600.0)
    async with running_hub(tmp_path, method="certificate", limits=limits) as hub:
        node = await hub.certify("a")
        hold: list[asyncio.StreamWriter] = []
        tls = client_context(node.trust.roots) if greeted else None
        port = int(hub.nodes_address.rpartition(":")[2])
        async with node.session(hub) as session:
            link = await session.ws_connect("/sync/v1/link")
            for address in ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"):
                for _ in range(8):
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection(
                            "127.0.0.1", port, ssl=tls, local_addr=(address, 0)
                        )
                        writer.write(b"POST /enrol/v1 HTTP/1.1\r\n" if greeted else b"")
                        hold.append(writer)
                assert (await hello(hub, node))[0] == 200
            assert not link.closed
            await link.close()
        for writer in hold:
            writer.close()


async def test_wrong_tokens_from_one_address_are_bounded(hub: RunningHub) -> None:
    node = await hub.certify("a")
    async with secure_session(hub.nodes_address, client_context(node.trust.roots)) as session:
        enrol = Enrol("wrong", "b", {}, "0.1.0", "0" * 64, csr=csr_of(make_key()))
        answers = [await post(session, "/enrol/v1", enrol) for _ in range(31)]
    assert [status for status, _ in answers] == [409] * 30 + [429]
    assert (await hello(hub, node))[0] == 200


async def test_a_request_for_a_key_that_nobody_knows_counts_as_any_other(hub: RunningHub) -> None:
    node = await hub.certify("a")
    strange = of_another_curve(csr_of(make_key()))
    async with secure_session(hub.nodes_address, client_context(node.trust.roots)) as session:
        enrol = Enrol((await hub.token()).token, "b", {}, "0.1.0", "0" * 64, csr=strange)
        assert (await post(session, "/enrol/v1", enrol))[0] == 400
        wrong = Enrol("wrong", "b", {}, "0.1.0", "0" * 64, csr=strange)
        answers = [await post(session, "/enrol/v1", wrong) for _ in range(31)]
    assert [status for status, _ in answers] == [409] * 30 + [429]


def of_another_curve(csr: str) -> str:
    """The request with an object identifier in it that no library knows."""
    begin, *lines, end = csr.strip().splitlines()
    known, unknown = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030102")
    body = base64.b64decode("".join(lines)).replace(known, unknown)
    return "\n".join([begin, base64.b64encode(body).decode(), end, ""])


@pytest.mark.guarantee("G9")
async def test_every_route_of_the_listener(hub: RunningHub) -> None:
    node = await hub.certify("a")
    bare = secure_session(hub.nodes_address, client_context(node.trust.roots))
    async with bare as nobody, node.session(hub) as known:
        for method, path in OF_NODES:
            refused = 403 if method == "WS" else 401
            assert await ask(nobody, method, path, {}) == refused, path
            assert await ask(nobody, method, path, hub.person) == refused, path
            assert await ask(known, method, path, {}) not in {401, 403, 405}, path
        for method, path in OF_ALL:
            assert await ask(nobody, method, path, {}) not in {401, 403, 404}, path
        for method, path in ROUTES.keys() - OF_NODES - OF_ALL:
            for client, headers in ((nobody, hub.person), (known, {})):
                absent = 403 if method == "WS" else 404
                assert await ask(client, method, path, headers) == absent, path
