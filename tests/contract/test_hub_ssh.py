"""The hub's SSH authority on each database: numbers, roles, revocation, and one authority for all hubs of a database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    SSHCertificate,
    load_ssh_public_identity,
)
from tests.hub_rig import HubRig

from skerry.core.roles import ADMIN, OPERATOR, Role
from skerry.hub.trust.ssh_authority import HOST_LIFE, Asking, SshAuthority
from skerry.hub.trust.ssh_keys import SshKeys, public_line
from skerry.kit.clock import NS
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.wire.ssh import SshCertificateRequest, SshNode, SshRevoke

LIMITED = "/usr/bin/skerry node limited"


def a_key() -> str:
    return public_line(Ed25519PrivateKey.generate())


@pytest.fixture
def authority(hub: HubRig, tmp_path: Path) -> SshAuthority:
    return made(hub, tmp_path / "data")


def made(hub: HubRig, data_dir: Path) -> SshAuthority:
    data_dir.mkdir(exist_ok=True)
    keys = SshKeys(data_dir, hub.store, hub.clock, RealDisk())
    return SshAuthority(hub.store, keys, hub.clock, hub.news.append)


def told(revoked: str = "", *, host: bool = False, user: str = "root") -> SshNode:
    return SshNode(user, 22, a_key(), LIMITED, revoked, host)


def ann(node_id: str, role: Role = ADMIN) -> Asking:
    return Asking("ann", role, node_id, "n1")


def read(line: str) -> SSHCertificate:
    found = load_ssh_public_identity(line.encode())
    assert isinstance(found, SSHCertificate)
    return found


async def test_a_certificate_says_who_which_node_and_for_how_long(
    hub: HubRig, authority: SshAuthority
) -> None:
    node = await hub.enrol()
    with pytest.raises(Refused, match="skerry node ssh-setup"):
        await authority.issue(SshCertificateRequest(a_key()), ann(node.node_id))
    await authority.trust(node.node_id, told(user="dev"))
    issued = await authority.issue(SshCertificateRequest(a_key(), 60.0), ann(node.node_id))
    certificate = read(issued.certificate)
    now = hub.clock.wall_ns() // NS
    assert certificate.valid_principals == [f"node:{node.node_id}".encode()]
    assert certificate.key_id == b"ann 1"
    assert (certificate.serial, certificate.valid_before) == (1, now + 60)
    assert certificate.extensions == {b"permit-pty": b""}
    assert certificate.critical_options == {}
    assert (issued.user, issued.port, issued.limited) == ("dev", 22, False)
    limited = await authority.issue(
        SshCertificateRequest(a_key(), source="10.0.0.0/8"), ann(node.node_id, OPERATOR)
    )
    certificate = read(limited.certificate)
    assert certificate.extensions == {}
    assert certificate.critical_options == {
        b"force-command": LIMITED.encode(), b"source-address": b"10.0.0.0/8",
    }  # fmt: skip
    for writing in (Role("w", ("read", "write", "execute")), Role("c", ("execute", "configure"))):
        assert (
            await authority.issue(SshCertificateRequest(a_key()), ann(node.node_id, writing))
        ).limited
    ending = hub.clock.wall_ns() + 20 * NS
    bound = Asking("ann", ADMIN, node.node_id, "n1", ending)
    issued = await authority.issue(SshCertificateRequest(a_key(), 60.0), bound)
    assert read(issued.certificate).valid_before * NS <= issued.expires_at == ending
    for ttl in (0.0, 901.0, float("nan")):
        with pytest.raises(InvalidInput):
            await authority.issue(SshCertificateRequest(a_key(), ttl), ann(node.node_id))


async def test_each_certificate_has_its_own_number(hub: HubRig, authority: SshAuthority) -> None:
    node = await hub.enrol()
    await authority.trust(node.node_id, told())
    asked = [authority.issue(SshCertificateRequest(a_key()), ann(node.node_id)) for _ in range(20)]
    issued = await asyncio.gather(*asked)
    assert sorted(each.serial for each in issued) == list(range(1, 21))
    assert [each.serial for each in await authority.list()] == list(range(20, 0, -1))


async def test_revoking_tells_the_nodes_that_are_concerned(
    hub: HubRig, authority: SshAuthority
) -> None:
    first, second = await hub.enrol("n1"), await hub.enrol("n2")
    for node in (first, second):
        await authority.trust(node.node_id, told())
        for _ in range(2):
            await authority.issue(SshCertificateRequest(a_key()), ann(node.node_id))
    before = await authority.trust(first.node_id, told())
    again = await authority.trust(first.node_id, told(before.revoked))
    assert again.krl is None
    assert (again.revoked, again.host_certificate) == (before.revoked, "")
    hub.news.clear()
    revoked = await authority.revoke(SshRevoke(serial=1), "bob")
    assert (revoked.serials, revoked.nodes, hub.news) == ([1], 1, [first.node_id])
    after = await authority.trust(first.node_id, told(before.revoked))
    assert after.krl is not None
    assert after.revoked != before.revoked
    assert (await authority.trust(second.node_id, told(before.revoked))).krl is None
    revoked = await authority.revoke(SshRevoke(who="ann"), "bob")
    assert revoked.serials == [2, 3, 4]
    hub.clock.advance(3600)
    assert (await authority.revoke(SshRevoke(who="ann"), "bob")).serials == []
    with pytest.raises(NotFound):
        await authority.revoke(SshRevoke(serial=99), "bob")
    for wrong in (SshRevoke(), SshRevoke(1, "ann")):
        with pytest.raises(InvalidInput):
            await authority.revoke(wrong, "bob")
    assert {(each.state, each.revoked_by) for each in await authority.list()} == {
        ("revoked", "bob")
    }


async def test_what_a_session_may_have_begun_by_is_revoked_with_its_person(
    hub: HubRig, authority: SshAuthority
) -> None:
    node = await hub.enrol()
    await authority.trust(node.node_id, told())
    for _ in range(2):
        await authority.issue(SshCertificateRequest(a_key(), 120.0), ann(node.node_id))
        hub.clock.advance(86_400)
    hub.clock.advance(29 * 86_400)
    login = await authority.login("ann", node.node_id, 22)
    assert (await authority.revoke(SshRevoke(who="ann"), "bob")).serials == [2]
    with pytest.raises(Refused, match="certificate of «ann»"):
        await login()


async def test_a_login_ends_with_a_certificate_of_its_person_for_its_node(
    hub: HubRig, authority: SshAuthority
) -> None:
    node, other = await hub.enrol("n1"), await hub.enrol("n2")
    for each in (node, other):
        await authority.trust(each.node_id, told())
        await authority.issue(SshCertificateRequest(a_key()), ann(each.node_id))
    bob = Asking("bob", ADMIN, node.node_id, "n1")
    await authority.issue(SshCertificateRequest(a_key()), bob)
    begun = [("ann", node, 22), ("bob", node, 22), ("ann", other, 22), ("ann", node, 80)]
    logins = [await authority.login(who, each.node_id, port) for who, each, port in begun]
    await authority.revoke(SshRevoke(serial=1), "bob")
    later = await authority.login("ann", node.node_id, 22)
    await authority.revoke(SshRevoke(serial=1), "bob")
    with pytest.raises(Refused, match="certificate of «ann» for this node was revoked"):
        await logins[0]()
    for login in (*logins[1:], later):
        await login()


async def test_a_node_gets_a_certificate_for_itself_alone(
    hub: HubRig, authority: SshAuthority
) -> None:
    node = await hub.enrol()
    trust = await authority.trust(node.node_id, told(host=True))
    certificate = read(trust.host_certificate)
    assert certificate.valid_principals == [node.node_id.encode()]
    assert trust.host_until == hub.clock.wall_ns() + HOST_LIFE
    assert trust.host_since == hub.clock.wall_ns()
    for wrong in ("-oProxyCommand=x", "", "a b"):
        with pytest.raises(InvalidInput):
            await authority.trust(node.node_id, told(user=wrong))


async def test_hubs_that_share_a_database_have_one_authority(hub: HubRig, tmp_path: Path) -> None:
    node = await hub.enrol()
    first, second = made(hub, tmp_path / "one"), made(hub, tmp_path / "other")
    mine = (await first.trust(node.node_id, told())).user_ca
    if hub.store.shared:
        with pytest.raises(Refused, match="Copy it from the hub that made it"):
            await second.trust(node.node_id, told())
        trust = tmp_path / "other" / "trust"
        trust.mkdir(mode=0o700)
        for kind in ("user", "host"):
            wrong = tmp_path / "one" / "trust" / f"ssh_{kind}_ca"
            if wrong.exists():
                (trust / wrong.name).write_bytes(wrong.read_bytes())
                (trust / wrong.name).chmod(0o600)
        assert (await second.trust(node.node_id, told())).user_ca == mine
        (trust / "ssh_user_ca").write_bytes(
            Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
            )
        )
        with pytest.raises(Refused, match="is not the key of the other hubs"):
            await made(hub, tmp_path / "other").trust(node.node_id, told())
    else:
        assert (await made(hub, tmp_path / "one").trust(node.node_id, told())).user_ca == mine


async def test_a_lost_key_is_not_made_anew_without_a_word(
    hub: HubRig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = await hub.enrol()
    before = await made(hub, tmp_path / "data").trust(node.node_id, told())
    assert not caplog.messages
    (tmp_path / "data" / "trust" / "ssh_user_ca").unlink()
    if hub.store.shared:
        with pytest.raises(Refused, match="lacks .*ssh_user_ca"):
            await made(hub, tmp_path / "data").trust(node.node_id, told())
        return
    for _ in range(2):
        after = await made(hub, tmp_path / "data").trust(node.node_id, told())
        assert (after.user_ca != before.user_ca, after.host_ca) == (True, before.host_ca)
    [word] = caplog.messages
    assert "another key for user certificates" in word


async def test_a_key_that_others_may_read_is_not_used(hub: HubRig, tmp_path: Path) -> None:
    node = await hub.enrol()
    authority = made(hub, tmp_path / "data")
    await authority.trust(node.node_id, told())
    path = tmp_path / "data" / "trust" / "ssh_user_ca"
    path.chmod(0o640)
    with pytest.raises(Refused, match="chmod 600"):
        await made(hub, tmp_path / "data").trust(node.node_id, told())
    path.chmod(0o600)
    path.write_text("no key")
    with pytest.raises(Refused, match="holds no key"):
        await made(hub, tmp_path / "data").trust(node.node_id, told())
