"""What changes while a fleet works: nodes that are revoked, certificates that end, roots that change, hubs that begin again."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.trust_site import QuickClock, ask, bundle, closing, greet_with, renew

from skerry.hub.trust import certificates, offline
from skerry.hub.trust.files import TrustFiles
from skerry.hub.trust.standing import Standing
from skerry.kit.clock import NS, SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, Refused, Transient
from skerry.testing.running_hub import (
    CertifiedNode,
    RunningHub,
    client_context,
    csr_of,
    running_hub,
)
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode, encode
from skerry.wire.link import DELETED
from skerry.wire.people import NodeRevoked
from skerry.wire.sync import Hello, HelloReply
from skerry.wire.trust import Renew, TrustView


async def greet(hub: RunningHub, node: CertifiedNode, certificate: str = "", trust: int = 1) -> int:
    hello = Hello((1, 1), "11" * 16, "0.1.0", "boot-1", trust=trust)
    async with (
        node.session(hub, certificate) as session,
        session.post("/sync/v1/hello", data=encode(hello)) as response,
    ):
        if response.status == 200:
            reply = decode(await response.read(), HelloReply, "reply")
            assert (reply.trust is None) == (trust >= (await bundle(hub)))
        return response.status


@pytest.mark.guarantee("G10")
async def test_a_revoked_node_is_out_at_once_and_comes_back_with_a_token(tmp_path: Path) -> None:
    async with running_hub(tmp_path, method="certificate") as hub:
        node = await hub.certify("a")
        async with node.session(hub) as session:
            link = await session.ws_connect("/sync/v1/link")
            revoked = await ask(hub, "POST", "/api/v1/nodes/a/revoke", NodeRevoked)
            assert revoked.id == node.node_id
            assert await closing(link) == DELETED
            async with session.post("/sync/v1/pull", data=b"{}") as response:
                assert response.status == 401
        assert await greet(hub, node) == 401
        again = await hub.certify("a", secret=node.secret, key=node.key)
        assert again.node_id == node.node_id
        assert await greet(hub, again) == 200


def ending(directory: Path, node: CertifiedNode, life: timedelta) -> str:
    """A certificate as the hub gave it, which ends after `life` from now."""
    kept = TrustFiles(directory, RealDisk()).read()
    assert kept is not None
    assert kept.intermediate is not None
    begun = datetime.now(UTC) + life - certificates.NODE_LIFE
    leaf = certificates.sign_node(
        kept.intermediate, node.key.public_key(), "test", node.node_id, begun
    )
    return certificates.pem(leaf, kept.intermediate.certificate)


@pytest.mark.guarantee("G10")
async def test_what_is_open_ends_with_its_certificate(tmp_path: Path) -> None:
    clock = JumpingClock()
    async with running_hub(tmp_path, method="certificate", clock=clock) as hub:
        node = await hub.certify("a")
        short = ending(tmp_path, node, timedelta(hours=1))
        async with node.session(hub, short) as session, node.session(hub) as lasting:
            link = await session.ws_connect("/sync/v1/link")
            clock.ahead = 3600
            assert await closing(link) == 1006  # cut
            other = await lasting.ws_connect("/sync/v1/link")
            assert not other.closed
            await other.close()
        assert await greet(hub, node, short) == 401


async def test_a_new_certificate_is_shown_at_once(tmp_path: Path) -> None:
    """Connections prove one certificate for as long as they last: what they are refused, or renewed, on is not used again."""
    async with running_hub(tmp_path, method="certificate") as hub:
        node = await hub.certify("a")
        ended = ending(tmp_path, node, timedelta(seconds=-1))
        hello = encode(Hello((1, 1), "11" * 16, "0.1.0", "boot-1", trust=1))
        async with node.session(hub, ended) as session:
            async with session.post("/sync/v1/hello", data=hello) as refused:
                assert refused.status == 401
                assert refused.headers["Connection"] == "close"
            asked = encode(Renew(csr_of(node.key)))
            async with session.post("/trust/v1/renew", data=asked) as renewed:
                assert renewed.status == 200
                assert renewed.headers["Connection"] == "close"


async def test_who_can_no_longer_be_judged_ends() -> None:
    standing, ended = Standing(SystemClock()), []
    outcome: list[Exception] = []

    async def judge() -> None:
        if outcome:
            raise outcome[0]

    with standing.watch(judge, lambda: ended.append("one")):
        await standing.judge()
        assert not ended
        outcome.append(Transient("cannot ask the database"))
        await standing.judge()
        await standing.judge()
        assert ended == ["one"]
    with standing.watch(judge, lambda: ended.append("two")):
        pass
    await standing.judge()
    assert ended == ["one"]


async def test_the_root_changes_while_nodes_live(tmp_path: Path) -> None:
    async with running_hub(tmp_path, method="certificate", clock=QuickClock()) as hub:
        one, late = await hub.certify("one"), await hub.certify("late")
        assert await greet(hub, one) == await greet(hub, late) == 200
        async with one.session(hub) as session:
            link = await session.ws_connect("/sync/v1/link")
            begun = await ask(hub, "POST", "/api/v1/trust/rotate", TrustView)
            assert [root.state for root in begun.roots] == ["issuing", "next"]
            assert begun.behind == ["late", "one"]
            assert await closing(link) == 1012  # so that it greets
        await ask(hub, "POST", "/api/v1/trust/rotate", dict, 409)
        assert await greet(hub, one, trust=1) == 200
        assert await greet(hub, one, trust=begun.number) == 200
        refused = await ask(hub, "POST", "/api/v1/trust/finish", dict[str, str], 409)
        assert "1 nodes that were seen" in refused["error"]
        assert "late" in refused["error"]
        done = await ask(hub, "POST", "/api/v1/trust/finish?force=true", TrustView)
        assert [root.state for root in done.roots] == ["former", "issuing"]
        assert done.number == begun.number
        # The certificates of before are good, the hub's own hangs on the new root, and so does what is renewed.
        roots = await hub.roots()
        await eventually(
            lambda: greets_with(hub, one, roots[1:]),
            "the listener has a certificate of the new root",
        )
        renewed = await renew(hub, one, roots)
        assert renewed.trust.number == done.number
        assert await greet_with(hub, one, roots, renewed.certificate) == 200
        token = await hub.token()
        assert token.token.endswith(f".{done.roots[1].fingerprint}")
        await hub.certify("new", token.token)
        # Nobody hangs on the former root when the last node has gone.
        await renew(hub, late, roots)
        await eventually(lambda: is_retired(hub, 1), "the former root is retired")
        await eventually(lambda: is_told_of(hub, 1), "and nobody is told of it")
        assert await greet_with(hub, one, roots[1:], renewed.certificate, trust=9) == 200
    async with running_hub(tmp_path, method="certificate") as hub:
        assert [
            root.state for root in (await ask(hub, "GET", "/api/v1/trust", TrustView)).roots
        ] == [
            "retired",
            "issuing",
        ]


async def test_a_connection_carries_no_tickets_that_nobody_uses(tmp_path: Path) -> None:
    async with running_hub(tmp_path, method="certificate") as hub:
        node = await hub.certify("a")
        tls = client_context(node.trust.roots, node.certificate, node.key)
        port = int(hub.nodes_address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        writer.write(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert await reader.readline()
        assert not writer.get_extra_info("ssl_object").session.has_ticket
        writer.close()


async def is_retired(hub: RunningHub, number: int) -> bool:
    roots = (await ask(hub, "GET", "/api/v1/trust", TrustView)).roots
    return roots[number - 1].state == "retired"


async def is_told_of(hub: RunningHub, count: int) -> bool:
    return len(await hub.roots()) == count


async def greets_with(hub: RunningHub, node: CertifiedNode, roots: list[str]) -> bool:
    try:
        return await greet_with(hub, node, roots, node.certificate) == 200
    except aiohttp.ClientConnectorCertificateError:
        return False


def modes(directory: Path) -> dict[str, int]:
    return {
        each.name: stat.S_IMODE(each.stat().st_mode)
        for each in (directory, *directory.iterdir())
        if each.name != "lock"
    }


async def test_a_hub_that_begins_again_is_the_same_authority(tmp_path: Path) -> None:
    async with running_hub(tmp_path, method="certificate") as hub:
        node = await hub.certify("a")
    trust = tmp_path / "trust"
    assert modes(trust) == {
        "trust": 0o700, "root.key": 0o600, "root.crt": 0o600, "intermediate.key": 0o600, "intermediate.crt": 0o600,
    }  # fmt: skip
    (trust / "root.key").unlink()  # offline
    async with running_hub(tmp_path, method="certificate") as hub:
        assert await greet(hub, node) == 200
        assert not (await ask(hub, "GET", "/api/v1/trust", TrustView)).root_key
        await hub.certify("b")


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda trust: (trust / "intermediate.key").chmod(0o640), "others may read it"),
        (
            lambda trust: [each.unlink() for each in trust.iterdir()],
            "the fleet has a root of trust",
        ),
        (lambda trust: (trust / "root.crt").write_text("x"), "it is no certificate"),
        (
            lambda trust: [(trust / name).unlink() for name in ("root.key", "intermediate.key")],
            "has no intermediate that is good",
        ),
        (
            lambda trust: TrustFiles(trust.parent, RealDisk()).write_root(
                certificates.make_root("test", datetime.now(UTC))
            ),
            "is none of the fleet's",
        ),
    ],
)
async def test_a_hub_with_other_keys_does_not_start(
    tmp_path: Path, harm: Callable[[Path], object], why: str
) -> None:
    async with running_hub(tmp_path, method="certificate"):
        pass
    harm(tmp_path / "trust")
    with pytest.raises((Refused, Corrupt), match=why):
        async with running_hub(tmp_path, method="certificate"):
            pass


async def test_an_intermediate_that_was_cut_in_writing_is_made_again(tmp_path: Path) -> None:
    async with running_hub(tmp_path, method="certificate") as hub:
        node = await hub.certify("a")
    TrustFiles(tmp_path, RealDisk())._write("intermediate.key", _other_key())
    async with running_hub(tmp_path, method="certificate") as hub:
        assert await greet(hub, node) == 200


def _other_key() -> bytes:
    return certificates.key_pem(certificates.make_key())


def test_a_root_that_is_exported_opens_with_its_passphrase_alone() -> None:
    root = certificates.make_root("test", datetime.now(UTC))
    data = offline.sealed(root, b"a long passphrase")
    assert certificates.key_pem(root.key).split(b"\n")[1] not in data
    assert offline.opened(data, b"a long passphrase").certificate == root.certificate
    with pytest.raises(Refused, match="the passphrase is another one"):
        offline.opened(data, b"another passphrase")
    with pytest.raises(Refused, match="shorter than 12 bytes"):
        offline.sealed(root, b"short")


def test_a_promotion_that_was_cut_goes_on(tmp_path: Path) -> None:
    files = TrustFiles(tmp_path, RealDisk())
    now = datetime.now(UTC)
    old, new = certificates.make_root("test", now), certificates.make_root("test", now)
    assert files.read() is None
    files.write_root(old)
    files.write_next(new)
    (files.directory / "next-root.crt").rename(files.directory / "root.crt")
    kept = files.read()
    assert kept is not None
    assert (kept.root, kept.root_key is not None) == (new.certificate, True)
    assert files.read_next() is None


class JumpingClock(QuickClock):
    """As QuickClock, but `ahead` of the machine's by so many seconds."""

    ahead = 0

    def wall_ns(self) -> int:
        return super().wall_ns() + self.ahead * NS


def lasting(directory: Path, node: CertifiedNode) -> str:
    """A certificate for longer than the listener's own."""
    kept = TrustFiles(directory, RealDisk()).read()
    assert kept is not None
    assert kept.intermediate is not None
    now = datetime.now(UTC)
    uri = certificates.party_uri("test", "node", node.node_id)
    leaf = certificates._leaf(
        kept.intermediate,
        node.key.public_key(),
        uri,
        now + timedelta(days=60),
        ExtendedKeyUsageOID.CLIENT_AUTH,
        now,
    )
    return certificates.pem(leaf, kept.intermediate.certificate)


async def shown_by(hub: RunningHub, node: CertifiedNode) -> bytes:
    _, _, port = hub.nodes_address.rpartition(":")
    _, writer = await asyncio.open_connection(
        "127.0.0.1", int(port), ssl=client_context(node.trust.roots)
    )
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return shown


async def test_the_listeners_certificate_is_renewed_while_connections_live(tmp_path: Path) -> None:
    clock = JumpingClock()
    async with running_hub(tmp_path, method="certificate", clock=clock) as hub:
        node = await hub.certify("a")
        before = await shown_by(hub, node)
        assert await shown_by(hub, node) == before

        async def is_another() -> bool:
            return await shown_by(hub, node) != before

        async with node.session(hub, lasting(tmp_path, node)) as session:
            link = await session.ws_connect("/sync/v1/link")
            clock.ahead = 21 * 86_400
            await eventually(is_another, "the listener shows another certificate")
            async with session.get("/healthz") as response:
                assert response.status == 200
            assert not link.closed
            await link.close()
        assert link.close_code == 1000
