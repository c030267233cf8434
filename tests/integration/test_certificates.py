"""Becoming a node with a certificate and staying one, at a small hub whose certificates are made here."""

import asyncio
import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from tests.trust_rig import DAY, HOUR, NOW, Authority, SmallHub, server_context, small_hub

from skerry.kit.bell import Bell
from skerry.kit.clock import BUILD_TIME_NS, NS
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.kit.sealing.cipher import Cipher, NullCipher
from skerry.node.enrolment import Site, enrol_node
from skerry.node.identity import SECRET_FILE, Identity, read_identity, write_identity
from skerry.node.ports import NotKnown
from skerry.node.sync.connections import open_session
from skerry.node.sync.uplink import HttpUplink
from skerry.node.trust.credentials import Credentials
from skerry.node.trust.files import TrustFiles, request_in
from skerry.node.trust.hardware import hardware_id
from skerry.node.trust.renewal import Renewal
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.manual_clock import ManualClock
from skerry.wire.sync import Enrol, Hello, HelloReply
from skerry.wire.trust import Renewed, TrustBundle


@pytest.fixture
async def hub() -> AsyncIterator[SmallHub]:
    async with small_hub() as running:
        yield running


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "node"
    path.mkdir()
    return path


def site(data_dir: Path, disk: Disk | None = None, cipher: Cipher | None = None) -> Site:
    return Site(data_dir, disk or RealDisk(), cipher or NullCipher())


def request(hub: SmallHub) -> Enrol:
    return Enrol(hub.pinned, "gate", {"site": "lab"}, "0.1", "")


def files(data_dir: Path) -> TrustFiles:
    return TrustFiles(data_dir, RealDisk(), NullCipher())


class Device:
    """The trust of a running node: its clock, its credentials and its way to the hub."""

    def __init__(
        self, data_dir: Path, clock: ManualClock | None = None, disk: Disk | None = None
    ) -> None:
        self.clock = clock or ManualClock(NOW * NS)
        self.credentials = Credentials(
            TrustFiles(data_dir, disk or RealDisk(), NullCipher()), self.clock
        )
        self.refused = Bell()

    async def hello(self, hub: SmallHub) -> HelloReply:
        async with open_session(tls=self.credentials.context) as session:
            uplink = HttpUplink(session, hub.url, "n0", "")
            trust = self.credentials
            hello = Hello(
                (1, 1), "1" * 32, "0.1", "boot", trust=trust.number, trust_digest=trust.digest
            )
            try:
                reply = await uplink.hello(hello)
            except NotKnown:
                self.refused.ring()
                raise
            self.credentials.heard(reply.hub_time, reply.trust)
            return reply

    async def renew(self, hub: SmallHub) -> Renewal:
        async with open_session(tls=self.credentials.context) as session:
            ask = HttpUplink(session, hub.url, "n0", "").renew
            renewal = Renewal(self.credentials, ask, self.refused, self.clock, Last())
            self.refused.ring()
            await renewal.once()
            return renewal


class Last(random.Random):
    """Chance that always says the same."""

    def random(self) -> float:
        return 0.0


async def test_a_node_proves_itself_by_a_key_that_only_it_has(
    hub: SmallHub, data_dir: Path
) -> None:
    identity = await enrol_node(hub.url + "/", request(hub), site(data_dir))
    assert identity == read_identity(data_dir)
    assert identity == Identity("n0", "gate", {"site": "lab"}, hub.url, "hub-1", certificate=True)
    assert hub.hardware == hardware_id()
    own = data_dir / "trust/node.pem"
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert stat.S_IMODE(own.parent.stat().st_mode) == 0o700
    assert b"PRIVATE KEY" in own.read_bytes()
    assert not (data_dir / "trust/enrolling.pem").exists()
    await Device(data_dir).hello(hub)


async def test_the_roots_are_a_file_for_any_tool(hub: SmallHub, data_dir: Path) -> None:
    await enrol_node(hub.url, request(hub), site(data_dir))
    words = ["openssl", "verify", "-no_check_time", "-CAfile", "trust/roots.pem"]
    both = ["-untrusted", "trust/node.pem", "trust/node.pem"]
    subprocess.run([*words, *both], cwd=data_dir, check=True, capture_output=True)


@pytest.mark.guarantee("G9")
async def test_a_hub_without_the_root_that_the_token_names_hears_no_secret(
    hub: SmallHub, data_dir: Path
) -> None:
    async with small_hub() as other:
        with pytest.raises(InvalidInput, match="does not have the root that the token names"):
            await enrol_node(other.url, request(hub), site(data_dir))
        assert not other.enrolled
    async with small_hub() as liar:
        liar.bundle = TrustBundle(1, [hub.authority.root])  # the right root, and not its key
        with pytest.raises(Transient, match="cannot reach hub .*certificate"):
            await enrol_node(liar.url, request(hub), site(data_dir))
        assert not liar.enrolled
    assert read_identity(data_dir) is None


async def test_what_people_get_wrong_is_said(hub: SmallHub, data_dir: Path) -> None:
    async def why(url: str, token: str) -> str:
        with pytest.raises((Refused, InvalidInput, Transient)) as raised:
            await enrol_node(url, Enrol(token, "gate", {}, "0.1", ""), site(data_dir))
        return str(raised.value)

    assert "the token is wrong" in await why(hub.url, f"other.{hub.authority.fingerprint}")
    assert "does not have the root" in await why(hub.url, hub.pinned[:-2])
    http = hub.url.replace("https", "http")
    assert "nodes reach it by https" in await why(http, hub.pinned)
    assert "Is the hub running" in await why("https://127.0.0.1:9", hub.pinned)
    assert read_identity(data_dir) is None


async def test_what_answers_without_tls_is_said(hub: SmallHub, data_dir: Path) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Transient, match="it does not speak TLS"):
            await enrol_node(url, request(hub), site(data_dir))


async def test_a_disk_that_fails_anywhere_spends_no_token(hub: SmallHub, tmp_path: Path) -> None:
    for nth in count(1):
        data_dir = tmp_path / f"node-{nth}"
        data_dir.mkdir()
        try:
            await enrol_node(hub.url, request(hub), site(data_dir, FaultyDisk(fail_at=nth)))
        except Refused as error:
            assert "try again with the same token" in str(error)  # noqa: PT017 - the loop ends without one
        else:
            break
        before = dict(hub.enrolled)
        if read_identity(data_dir) is None:
            await enrol_node(hub.url, request(hub), site(data_dir))
        if before:
            assert before.items() <= hub.enrolled.items()
        await Device(data_dir).hello(hub)
    assert nth > 6


async def test_a_lost_answer_spends_no_token(hub: SmallHub, data_dir: Path) -> None:
    hub.swallow = 2  # the call is made once more by itself
    with pytest.raises(Transient, match="without an answer"):
        await enrol_node(hub.url, request(hub), site(data_dir))
    pending = (data_dir / "trust/enrolling.pem").read_bytes()
    await enrol_node(hub.url, request(hub), site(data_dir))
    assert list(hub.enrolled.values()) == ["n0"]
    assert (data_dir / "trust/node.pem").read_bytes().startswith(pending)
    await Device(data_dir).hello(hub)


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize("label", ["trust.pending", "trust.roots", "trust.own", "enrol.secret", "enrol.identity", "trust.done"])  # fmt: skip
async def test_a_kill_anywhere_is_healed_by_the_same_token(
    hub: SmallHub, data_dir: Path, label: str
) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, label, hub.url, hub.pinned, str(data_dir), env=dict(os.environ)
    )  # fmt: skip
    assert await child.wait() == -signal.SIGKILL
    if read_identity(data_dir) is None:
        await enrol_node(hub.url, request(hub), site(data_dir))
    assert list(hub.enrolled.values()) == ["n0"]
    await Device(data_dir).hello(hub)


KILLED = """
import asyncio, sys
from pathlib import Path
from skerry.node.enrolment import Site, enrol_node
from skerry.testing.faulty_disk import KillingDisk
from skerry.wire.sync import Enrol
label, url, token, place = sys.argv[1:]
asyncio.run(enrol_node(url, Enrol(token, "gate", {}, "0.1", ""), Site(Path(place), KillingDisk(label, 1))))
"""


async def test_a_node_from_before_certificates_keeps_its_id_and_its_secret(
    hub: SmallHub, data_dir: Path
) -> None:
    old = Identity("n7", "gate", {}, "http://127.0.0.1:8600", "hub-1")
    write_identity(data_dir, old, "secret", RealDisk())
    with pytest.raises(Refused, match="gives certificates only now"):
        await enrol_node(hub.url, request(hub), site(data_dir))
    identity = await enrol_node(hub.url, request(hub), site(data_dir), again=True)
    assert (identity.node_id, identity.hub_url, identity.certificate) == ("n7", hub.url, True)
    assert (data_dir / SECRET_FILE).read_text() == "secret\n"
    await Device(data_dir).hello(hub)


@pytest.mark.guarantee("G9")
async def test_a_key_that_others_may_read_is_not_used(hub: SmallHub, data_dir: Path) -> None:
    await enrol_node(hub.url, request(hub), site(data_dir))
    own = data_dir / "trust/node.pem"
    own.chmod(0o640)
    with pytest.raises(Refused, match=f"others may read it .mode 640.*chmod 600 {own}"):
        Device(data_dir)


async def test_a_certificate_is_renewed_after_two_thirds_of_its_life_with_the_same_key(
    hub: SmallHub, data_dir: Path
) -> None:
    await enrol_node(hub.url, request(hub), site(data_dir))
    device = Device(data_dir)
    request_before, leaf = device.credentials.request, device.credentials.leaf
    async with open_session(tls=device.credentials.context) as session:
        ask = HttpUplink(session, hub.url, "n0", "").renew
        renewal = Renewal(device.credentials, ask, Bell(), device.clock, Last())
        await renewal.once()
        device.clock.advance(47 * HOUR)
        await renewal.once()
        assert hub.renewals == 0
        device.clock.advance(HOUR)
        hub.authority.now += 48 * HOUR
        await renewal.once()
        await renewal.once()
    assert hub.renewals == 1
    assert leaf is not None
    kept = Device(data_dir).credentials
    assert kept.request == request_before == request_in((data_dir / "trust/node.pem").read_bytes())
    assert kept.leaf == device.credentials.leaf
    assert kept.leaf is not None
    assert kept.leaf.not_before == leaf.not_before + 48 * HOUR * NS
    await Device(data_dir).hello(hub)


async def test_a_renewal_that_cannot_be_kept_or_used_leaves_what_there_was(
    hub: SmallHub, data_dir: Path
) -> None:
    await enrol_node(hub.url, request(hub), site(data_dir))
    before = (data_dir / "trust/node.pem").read_bytes()
    for nth in count(1):
        disk = FaultyDisk(fail_at=nth)
        device = Device(data_dir, disk=disk)
        hub.bundle = TrustBundle(nth + 1, [hub.authority.root])
        try:
            await device.renew(hub)
        except Transient as error:
            assert "cannot keep the new certificate" in str(error)  # noqa: PT017 - as above
        else:
            break
        assert (data_dir / "trust/node.pem").read_bytes() == before
        await device.hello(hub)
    assert nth > 2
    device = Device(data_dir)
    kept = (data_dir / "trust/node.pem").read_bytes()
    foreign = Authority().leaf_of_another()
    for useless in (foreign, "", "nonsense"):
        with pytest.raises((Refused, InvalidInput)):
            device.credentials.take(Renewed(useless, hub.bundle))
    with pytest.raises(InvalidInput):
        device.credentials.believe(TrustBundle(99, []))
    assert (data_dir / "trust/node.pem").read_bytes() == kept
    await Device(data_dir).hello(hub)


async def test_new_roots_are_kept_before_they_are_used_and_older_ones_are_not_taken(
    hub: SmallHub, data_dir: Path
) -> None:
    await enrol_node(hub.url, request(hub), site(data_dir))
    following = Authority("next")
    device = Device(data_dir)
    hub.bundle = TrustBundle(2, [hub.authority.root, following.root])
    both = server_context(following.server(), "".join(hub.bundle.roots))
    async with small_hub(following, both) as later:
        later.keys, later.bundle = hub.keys, hub.bundle
        with pytest.raises(Transient, match="certificate"):
            await device.hello(later)
        await device.hello(hub)
        assert files(data_dir).bundle() == hub.bundle
        assert (await device.hello(later)).trust is None
        device.credentials.believe(TrustBundle(1, [hub.authority.root]))
        assert Device(data_dir).credentials.number == 2
        await Device(data_dir).hello(later)


@pytest.mark.guarantee("G9")
async def test_a_hub_from_a_backup_that_uses_a_number_again_is_believed_when_it_proves_itself(
    hub: SmallHub, data_dir: Path
) -> None:
    await enrol_node(hub.url, request(hub), site(data_dir))
    device, lost, again = Device(data_dir), Authority("lost"), Authority("again")
    hub.bundle = TrustBundle(2, [hub.authority.root, lost.root])
    await device.hello(hub)
    hub.bundle = TrustBundle(2, [hub.authority.root, again.root])
    assert (await device.hello(hub)).trust == hub.bundle
    assert files(data_dir).bundle() == device.credentials.bundle == hub.bundle
    assert (await device.hello(hub)).trust is None
    own = server_context(again.server(), "".join(hub.bundle.roots))
    async with small_hub(again, own) as later:
        later.keys, later.bundle = hub.keys, hub.bundle
        await device.hello(later)
    device.credentials.believe(TrustBundle(1, [lost.root]))
    assert Device(data_dir).credentials.bundle == hub.bundle


async def test_roots_that_cannot_be_kept_are_not_used_and_told_again(
    hub: SmallHub, data_dir: Path
) -> None:
    await enrol_node(hub.url, request(hub), site(data_dir))
    disk = FaultyDisk(fail_at=1, persistent=True)
    device = Device(data_dir, disk=disk)
    hub.bundle = TrustBundle(2, [hub.authority.root, Authority("next").root])
    assert (await device.hello(hub)).trust is not None
    assert device.credentials.number == 1
    disk.heal()
    await device.hello(hub)
    assert device.credentials.number == files(data_dir).bundle().number == 2


async def test_time_that_has_surely_passed_is_what_the_hub_said_last(
    hub: SmallHub, data_dir: Path
) -> None:
    await enrol_node(hub.url, request(hub), site(data_dir))
    stale = ManualClock(0)
    device = Device(data_dir, stale)
    assert device.credentials.floor() == (NOW - 300) * NS > BUILD_TIME_NS
    assert device.credentials.now() == (NOW - 300) * NS
    hub.authority.now += 2 * DAY
    await device.hello(hub)
    stale.advance(10)
    assert device.credentials.floor() == (NOW + 2 * DAY) * NS
    assert device.credentials.now() == (NOW + 2 * DAY + 10) * NS


async def test_a_hub_that_is_wrong_about_the_year_locks_nobody_out(
    hub: SmallHub, data_dir: Path
) -> None:
    """By its word its own certificate would have ended: neither its time nor what it issues is taken."""
    await enrol_node(hub.url, request(hub), site(data_dir))
    device = Device(data_dir)
    floor, before = device.credentials.floor(), (data_dir / "trust/node.pem").read_bytes()
    hub.authority.now += 3650 * DAY
    await device.hello(hub)
    with pytest.raises(InvalidInput, match="Is the hub's clock right"):
        await device.renew(hub)
    assert device.credentials.floor() == floor
    assert (data_dir / "trust/node.pem").read_bytes() == before
    hub.authority.now = NOW
    await device.hello(hub)
    await device.renew(hub)
