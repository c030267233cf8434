"""Where encryption at rest is on, a node's own key never lies on the disk as it is."""

from pathlib import Path

import pytest
from tests.trust_rig import SmallHub, small_hub

from skerry.cli.enrolment import enrol_here
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused
from skerry.kit.file_lock import locked
from skerry.kit.sealing.cipher import Cipher, NullCipher
from skerry.kit.sealing.format import is_sealed
from skerry.node.enrolment import Site, enrol_node
from skerry.node.keys import open_keys
from skerry.node.node_settings import NodeSettings
from skerry.node.settings import find_settings, node_settings
from skerry.node.store.opening import LOCK_FILE
from skerry.node.sync.connections import open_session
from skerry.node.sync.uplink import HttpUplink
from skerry.node.trust.credentials import Credentials
from skerry.node.trust.files import TrustFiles
from skerry.wire.sync import Enrol, Hello
from skerry.wire.trust import Renewed


class WatchedDisk(RealDisk):
    """Lets no key pass that is not sealed."""

    def __init__(self) -> None:
        self.written = 0

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        assert b"PRIVATE KEY" not in data, label
        self.written += 1
        super().write_atomic(label, path, data, mode)


def sealing(data_dir: Path) -> NodeSettings:
    options = {"data_dir": str(data_dir), "encryption.storage.enabled": "true", "name": "gate"}
    return node_settings(find_settings(options=options, environment={}))


def cipher_of(settings: NodeSettings) -> Cipher:
    return open_keys(settings, RealDisk(), SystemClock()).cipher("store")


async def says_hello(hub: SmallHub, credentials: Credentials) -> None:
    async with open_session(tls=credentials.context) as session:
        await HttpUplink(session, hub.url, "n0", "").hello(Hello((1, 1), "1" * 32, "1", "b"))


@pytest.mark.guarantee("G10")
async def test_the_key_is_sealed_whenever_it_is_written(tmp_path: Path) -> None:
    disk, settings = WatchedDisk(), sealing(tmp_path)
    cipher = cipher_of(settings)
    async with small_hub() as hub:
        hub.swallow = 2
        site = Site(tmp_path, disk, cipher)
        asked = Enrol(hub.pinned, "gate", {}, "1", "")
        with pytest.raises(Exception, match="without an answer"):
            await enrol_node(hub.url, asked, site)
        await enrol_node(hub.url, asked, site)
        files = TrustFiles(tmp_path, disk, cipher)
        credentials = Credentials(files, SystemClock())
        await says_hello(hub, credentials)
        before = disk.written
        chain = (files.own() or b"").decode()
        credentials.take(Renewed(chain, hub.bundle))
        assert disk.written > before
        assert is_sealed((tmp_path / "trust/node.pem").read_bytes())
        await says_hello(hub, Credentials(files, SystemClock()))


@pytest.mark.guarantee("G10")
async def test_the_command_seals_it_with_the_nodes_keys(tmp_path: Path) -> None:
    settings = sealing(tmp_path / "node")
    async with small_hub() as hub:
        await enrol_here(settings, hub.url, hub.pinned)
        for path in settings.data_dir.rglob("*"):
            assert path.is_dir() or b"PRIVATE KEY" not in path.read_bytes(), path
        files = TrustFiles(settings.data_dir, RealDisk(), cipher_of(settings))
        await says_hello(hub, Credentials(files, SystemClock()))
        with (
            locked(settings.data_dir / LOCK_FILE),
            pytest.raises(Refused, match="would go on as what it was. Stop it first"),
        ):
            await enrol_here(settings, hub.url, hub.pinned, again=True)


@pytest.mark.guarantee("G10")
async def test_a_key_from_before_encryption_is_sealed_and_no_other_node_can_use_it(
    tmp_path: Path,
) -> None:
    async with small_hub() as hub:
        site = Site(tmp_path, RealDisk(), NullCipher())
        await enrol_node(hub.url, Enrol(hub.pinned, "gate", {}, "1", ""), site)
        own = tmp_path / "trust/node.pem"
        plain = own.read_bytes()
        assert b"PRIVATE KEY" in plain
        files = TrustFiles(tmp_path, RealDisk(), cipher_of(sealing(tmp_path)))
        assert files.seal()
        assert not files.seal()
        assert is_sealed(own.read_bytes())
        assert files.own() == plain
        await says_hello(hub, Credentials(files, SystemClock()))
    with pytest.raises(Refused, match="encryption"):
        TrustFiles(tmp_path, RealDisk(), NullCipher()).own()
