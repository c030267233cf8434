"""A node whose key is in its TPM: real handshakes, with Debian's software TPM."""

import _ssl
import base64
import contextlib
import random
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_csr
from tests.ports import free_pair
from tests.software_tpm import software_tpm
from tests.trust_rig import NOW, Authority, SmallHub, small_hub

from skerry.cli.enrolment import enrol_here
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused, Transient
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sealing.format import is_sealed
from skerry.kit.tpm_tools import TpmSilent, tools
from skerry.node.enrolment import Site, enrol_node
from skerry.node.keys import open_keys
from skerry.node.settings import find_settings, node_settings
from skerry.node.sync.connections import open_session
from skerry.node.sync.uplink import HttpUplink
from skerry.node.trust import tpm_handshake
from skerry.node.trust.credentials import Credentials
from skerry.node.trust.files import TrustFiles, is_in_tpm, key_in
from skerry.node.trust.outside_key import OutsideKey, stand_in
from skerry.node.trust.renewal import Renewal
from skerry.node.trust.tls import unverified
from skerry.node.trust.tpm_handshake import TpmSigner
from skerry.node.trust.tpm_key import TpmKey, make_key
from skerry.testing.manual_clock import ManualClock
from skerry.wire.sync import Enrol, Hello

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[None]:
    with device_tpm(tmp_path, "tpm"):
        yield


@contextlib.contextmanager
def device_tpm(tmp_path: Path, name: str) -> Iterator[None]:
    """From power on to power off."""
    state = tmp_path / name
    state.mkdir(exist_ok=True)
    with software_tpm(state):
        yield


def credentials(data_dir: Path) -> Credentials:
    """As after a restart: nothing is remembered of the TPM."""
    files = TrustFiles(data_dir, RealDisk(), NullCipher())
    tpm_handshake._signer.cache_clear()
    return Credentials(files, ManualClock(NOW * NS), "tpm")


async def enrolled(hub: SmallHub, tmp_path: Path, *, again: bool = False) -> Path:
    data_dir = tmp_path / "node"
    data_dir.mkdir(exist_ok=True)
    site = Site(data_dir, RealDisk(), NullCipher(), key="tpm")
    await enrol_node(hub.url, Enrol(hub.pinned, "gate", {}, "0.1", ""), site, again=again)
    return data_dir


async def hello(hub: SmallHub, shown: Credentials) -> None:
    async with open_session(tls=shown.context) as session:
        trust = Hello((1, 1), "1" * 32, "0.1", "boot", trust=1, trust_digest=shown.digest)
        await HttpUplink(session, hub.url, "n0", "").hello(trust)


@pytest.mark.guarantee("G9")
@pytest.mark.usefixtures("tpm")
async def test_a_key_of_the_tpm_proves_the_node_and_lies_nowhere(tmp_path: Path) -> None:
    async with small_hub() as hub:
        data_dir = await enrolled(hub, tmp_path)
        own = (data_dir / "trust/node.pem").read_text()
        assert re.findall("BEGIN (.+)-----", own) == [
            "TSS2 PRIVATE KEY",
            "CERTIFICATE REQUEST",
            "CERTIFICATE",
            "CERTIFICATE",
        ]
        for _ in "12":  # what was loaded in the TPM, and loading it again
            shown = credentials(data_dir)
            await hello(hub, shown)
            await hello(hub, shown)
        assert len(hub.hellos) == 4
        assert shown.kind == "tpm"


@pytest.mark.usefixtures("tpm")
async def test_the_key_stays_when_the_certificate_is_renewed(tmp_path: Path) -> None:
    async with small_hub() as hub:
        data_dir = await enrolled(hub, tmp_path)
        kept = key_in((data_dir / "trust/node.pem").read_bytes())
        shown, refused = credentials(data_dir), Bell()
        async with open_session(tls=shown.context) as session:
            ask = HttpUplink(session, hub.url, "n0", "").renew
            renewal = Renewal(shown, ask, refused, ManualClock(NOW * NS), random.Random())
            refused.ring()
            await renewal.once()
        assert hub.renewals == 1
        await hello(hub, shown)
        await hello(hub, credentials(data_dir))
        assert key_in((data_dir / "trust/node.pem").read_bytes()) == kept


@pytest.mark.guarantee("G9")
async def test_a_stolen_disk_is_nobody(tmp_path: Path) -> None:
    async with small_hub() as hub:
        with device_tpm(tmp_path, "own"):
            data_dir = await enrolled(hub, tmp_path)
        with (
            device_tpm(tmp_path, "another"),
            pytest.raises(Transient, match="works only in the TPM that made it.*--again"),
        ):
            await hello(hub, credentials(data_dir))
        with pytest.raises(Transient, match="cannot use the TPM: tpm2_createprimary failed"):
            await hello(hub, credentials(data_dir))
        assert not hub.hellos
        with device_tpm(tmp_path, "own"):
            await hello(hub, credentials(data_dir))


@pytest.mark.usefixtures("tpm")
async def test_a_cleared_tpm_is_said_and_healed_by_enrolling_again(tmp_path: Path) -> None:
    async with small_hub() as hub:
        data_dir = await enrolled(hub, tmp_path)
        subprocess.run(["tpm2_clear"], check=True, capture_output=True)
        with pytest.raises(Transient, match="cleared or replaced: skerry node enroll --again"):
            await hello(hub, credentials(data_dir))
        await enrolled(hub, tmp_path, again=True)
        await hello(hub, credentials(data_dir))


async def test_a_running_agent_outlives_a_reset_of_the_tpm(tmp_path: Path) -> None:
    """As a device that has slept: what was loaded is lost, the key is not."""
    async with small_hub() as hub:
        with device_tpm(tmp_path, "tpm"):
            shown = credentials(await enrolled(hub, tmp_path))
            await hello(hub, shown)
        with device_tpm(tmp_path, "tpm"):
            await hello(hub, shown)


@pytest.mark.parametrize("context", [b"", b"loaded"])
def test_a_tpm_that_does_not_answer_is_asked_once(
    context: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with device_tpm(tmp_path, "tpm"):
        key = TpmKey(make_key(), 0.2)
    key._context = context
    port = free_pair()
    with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 1)):
        monkeypatch.setenv("TPM2TOOLS_TCTI", f"swtpm:host=127.0.0.1,port={port}")
        with pytest.raises(TpmSilent, match=r"did not end within 0\.2 s"):
            key.sign(b"h" * 32)
    assert key._context == context


def test_a_tool_that_cannot_be_ended_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps who waits for a chip that hangs, for minutes: longer than the watchdog waits for the agent."""
    left: list[subprocess.Popen[bytes]] = []

    def not_killed(process: subprocess.Popen[bytes]) -> None:
        left.append(process)

    monkeypatch.setattr(subprocess.Popen, "kill", not_killed)
    port = free_pair()
    with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + 1)):
        monkeypatch.setenv("TPM2TOOLS_TCTI", f"swtpm:host=127.0.0.1,port={port}")
        with pytest.raises(TpmSilent), tools("", 0.2) as tpm:
            tpm.run("tpm2_getrandom", "8")
        [tool] = left
        assert tool.poll() is None
        tool.terminate()
        tool.wait(30)


@pytest.mark.guarantee("G10")
@pytest.mark.usefixtures("tpm")
async def test_encryption_at_rest_seals_what_the_tpm_loads_too(tmp_path: Path) -> None:
    options = {"data_dir": str(tmp_path / "node"), "encryption.storage.enabled": "true"}
    settings = node_settings(find_settings(options=options | {"trust.key": "tpm"}, environment={}))
    async with small_hub() as hub:
        await enrol_here(settings, hub.url, hub.pinned)
        assert is_sealed((settings.data_dir / "trust/node.pem").read_bytes())
        cipher = open_keys(settings, RealDisk(), SystemClock()).cipher("store")
        files = TrustFiles(settings.data_dir, RealDisk(), cipher)
        await hello(hub, Credentials(files, ManualClock(NOW * NS), settings.trust.key))


def test_a_python_whose_openssl_is_its_own_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_ssl, "__file__")  # as where it is built in
    with pytest.raises(Refused, match=r"brings an OpenSSL of its own.*trust\.key: file"):
        OutsideKey(bytes)


@pytest.mark.usefixtures("tpm")
async def test_no_room_for_its_tools_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL calls back: what is raised there and is not Refused would end on stderr."""
    async with small_hub() as hub:
        shown = credentials(await enrolled(hub, tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
        with pytest.raises(Transient, match="its tools have no room to work in: No such file"):
            await hello(hub, shown)
        assert not hub.hellos


def test_a_tpm_that_fails_is_left_alone_for_a_minute(tmp_path: Path) -> None:
    with device_tpm(tmp_path, "tpm"):
        kept, clock = make_key(), ManualClock()
        signer = TpmSigner(kept, lambda: clock.monotonic_ns() / NS)
    with pytest.raises(Refused, match="cannot use the TPM"):
        signer._sign(b"h" * 32)
    with device_tpm(tmp_path, "tpm"):
        with pytest.raises(Refused, match="cannot use the TPM"):
            signer._sign(b"h" * 32)
        assert "cannot use the TPM" in signer.why_not()
        clock.advance(61)
        assert signer._sign(b"h" * 32)
        assert signer.why_not() == ""


async def test_without_a_tpm_no_key_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPM2TOOLS_TCTI", "swtpm:host=127.0.0.1,port=1")
    async with small_hub() as hub:
        with pytest.raises(Refused, match=r"cannot make a key .*: cannot use the TPM: .*group tss"):
            await enrolled(hub, tmp_path)
        assert not hub.enrolled
    assert not list((tmp_path / "node").rglob("*.pem"))


@pytest.mark.usefixtures("tpm")
async def test_a_key_in_a_file_is_not_taken_where_the_tpm_is_wanted(tmp_path: Path) -> None:
    data_dir = tmp_path / "node"
    data_dir.mkdir()
    asked = Enrol("", "gate", {}, "0.1", "")
    async with small_hub() as hub:
        asked = msgspec.structs.replace(asked, token=hub.pinned)
        site = Site(data_dir, RealDisk(), NullCipher())
        hub.swallow = 2
        with pytest.raises(Transient):
            await enrol_node(hub.url, asked, site)
        pending = data_dir / "trust/enrolling.pem"
        in_file = pending.read_bytes()
        await enrolled(hub, tmp_path)  # the one of before is not gone on with
        assert is_in_tpm((data_dir / "trust/node.pem").read_bytes())
        await enrol_node(hub.url, asked, site, again=True)
        assert not is_in_tpm(in_file)
        with pytest.raises(Refused, match=r"trust\.key is tpm.*skerry node enroll --again"):
            credentials(data_dir)


@pytest.mark.usefixtures("tpm")
async def test_messages_are_signed_by_the_same_key(tmp_path: Path) -> None:
    async with small_hub() as hub:
        data_dir = await enrolled(hub, tmp_path)
    shown = credentials(data_dir)
    public, signature = (base64.b64decode(text) for text in await shown.sign(b"a head"))
    key = load_der_public_key(public)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(signature, b"a head", ec.ECDSA(SHA256()))
    request = load_pem_x509_csr(shown.request.encode()).public_key()
    assert request.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public


def test_other_keys_of_the_process_are_left_alone(tmp_path: Path) -> None:
    """The stand-in's own private part is a number that everybody knows, and no other key is asked for at the TPM."""
    asked: list[bytes] = []
    authority = Authority()
    own = tmp_path / "own.pem"
    own.write_bytes(authority.server())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with OutsideKey(lambda digest: asked.append(digest) or b"").loading():
        pass
    context.load_cert_chain(own)
    client, server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = unverified().wrap_bio(server, client)
    theirs = context.wrap_bio(client, server, server_side=True)
    for one in (ours, theirs, ours):
        with contextlib.suppress(ssl.SSLWantReadError):
            one.do_handshake()
    assert ours.version() == "TLSv1.3"
    assert not asked
    point = ec.derive_private_key(1, ec.SECP256R1()).public_key()
    plain = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    made = load_pem_private_key(stand_in(plain), None)
    assert isinstance(made, ec.EllipticCurvePrivateKey)
    assert made.private_numbers().private_value == 1


def test_threads_leave_openssl_as_it_was() -> None:
    """Else another key would sign in the TPM's stead, and every key that is loaded later by the TPM."""
    outside = OutsideKey(bytes)
    library = outside._library
    before = library.EC_KEY_get_default_method()
    others: list[int] = []
    together = threading.Barrier(4)

    def load() -> None:
        together.wait()
        for _ in range(10_000):
            with outside.loading():
                now = library.EC_KEY_get_default_method()
                if now != outside._method:
                    others.append(now)

    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(often)
    left = library.EC_KEY_get_default_method()
    library.EC_KEY_set_default_method(before)
    assert left == before
    assert others == []


@pytest.mark.parametrize("kept", [b"", b"MA==", b"MAMEAQA=", b"no base64"])
def test_what_is_kept_damaged_is_said(kept: bytes) -> None:
    pem = b"-----BEGIN TSS2 PRIVATE KEY-----\n%b\n-----END TSS2 PRIVATE KEY-----\n" % kept
    with pytest.raises(Refused, match="what is kept of this node's key in the TPM"):
        TpmKey(pem)
