"""Backups of a node put back: by the right key only, in place of what is there, and cut off at every step."""

import errno
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.backup_rig import maker, restored, settings
from tests.canary import all_is_there, fill, hidden
from tests.record_rig import values
from tests.sealed_node import SealedNode, publish, sealed_node

from skerry.kit.archive.reading import Archive
from skerry.kit.archive.wrapping import ArchiveKey
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import StateTooNew
from skerry.node.backups.making import Maker
from skerry.node.backups.restoring import Keeping, Restorer, open_backup
from skerry.node.backups.snapshot import Holds
from skerry.node.identity import (
    Identity,
    read_identity,
    seal_secret,
    with_secret,
    write_identity,
)
from skerry.node.node_settings import Proxies
from skerry.node.store.opening import integrity_problem
from skerry.node.trust.files import TrustFiles
from skerry.testing.faulty_disk import FaultyDisk
from skerry.wire.trust import TrustBundle

PASSPHRASE = b"a horse on a stick"


async def test_a_device_that_lost_its_key_is_restored_by_the_passphrase(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    async with sealed_node(old) as node:
        await fill(node, 10)
        made = maker(old, recovery=PASSPHRASE).to_file(tmp_path / "b.skb")
    assert len(made.opened_by) == 2
    shutil.rmtree(old)
    for wrong in (Keeping(), Keeping(passphrase=b"a horse on a stone"), Keeping(kek=bytes(32))):
        with pytest.raises(
            Refused, match="cannot open the backup: it is encrypted, and its key file"
        ):
            restored(made, new, on=True, keeping=wrong)
    assert not new.exists()
    told = restored(made, new, on=True, keeping=Keeping(passphrase=PASSPHRASE))
    assert "software key" in told.sealed_by
    assert hidden(new)
    async with sealed_node(new) as node:
        await all_is_there(node)
    assert hidden(tmp_path)


async def test_what_must_not_be_restored_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    home = tmp_path / "n"
    async with sealed_node(home, on=False) as node:
        await publish(node, 1)
        made = maker(home).to_file(tmp_path / "b.skb")
        with pytest.raises(Refused, match=r"its node runs \(process \d+\). Stop it first"):
            restored(made, home, replace=True)
        with pytest.raises(Refused, match="it is there already"):
            maker(home).to_file(tmp_path / "b.skb")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(Refused, match=r"there is data \(node.db, .*--replace"):
        restored(made, home)
    good = Path(made.path).read_bytes()
    bad = tmp_path / "bad.skb"
    bad.write_bytes(good[:-500] + bytes(500))
    with pytest.raises(Corrupt, match="cannot use backup"):
        restored(bad, home, replace=True)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    async with sealed_node(tmp_path / "n", on=False):
        pass
    with closing(sqlite3.connect(tmp_path / "n/node.db")) as db:
        db.execute("PRAGMA user_version = 4711")
    made = maker(tmp_path / "n").to_file(tmp_path / "b.skb")
    with pytest.raises(StateTooNew, match="schema 4711"):
        restored(made, tmp_path / "m")
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["node.lock"]


def pem(what: str, content: str) -> str:
    return f"-----BEGIN {what}-----\n{content}\n-----END {what}-----\n"


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("holds", ["everything", "database"])
async def test_a_backup_makes_what_a_node_proves_itself_by_no_older(
    tmp_path: Path, on: bool, holds: Holds
) -> None:
    home = tmp_path / "n"
    home.mkdir()
    write_identity(home, Identity("id-1", "shed", {}, "http://h", "h"), "s3cret", RealDisk())

    async def trust(node: SealedNode, version: int) -> None:
        files = TrustFiles(home, RealDisk(), node.store.cipher)
        files.keep_own((pem("PRIVATE KEY", "k") + pem("CERTIFICATE", f"{version}")).encode())
        files.keep_bundle(TrustBundle(version, [pem("CERTIFICATE", f"root {version}")]))

    def kept(node: SealedNode, at: Path = home) -> tuple[bool, int]:
        files = TrustFiles(at, RealDisk(), node.store.cipher)
        return b"\n2\n" in (files.own() or b""), files.bundle().number

    async with sealed_node(home, on=on) as node:
        await trust(node, 1)
        made = maker(home, recovery=PASSPHRASE).to_directory(holds)
        await trust(node, 2)
    given = Keeping(passphrase=PASSPHRASE)
    told = restored(made, home, on=on, keeping=given, replace=True)
    async with sealed_node(home, on=on) as node:
        assert kept(node) == (True, 2)
        TrustFiles(home, RealDisk(), node.store.cipher).keep_bundle(
            TrustBundle(0, [pem("CERTIFICATE", "x")])
        )
        assert (Path(told.replaced) / "trust" / "node.pem").exists()
    restored(made, home, on=on, keeping=given, replace=True)
    async with sealed_node(home, on=on) as node:
        assert kept(node) == (True, 1)
    (home / "trust/node.pem").write_bytes(b"")
    restored(made, home, on=on, keeping=given, replace=True)
    async with sealed_node(home, on=on) as node:
        assert b"\n1\n" in (TrustFiles(home, RealDisk(), node.store.cipher).own() or b"")


async def test_what_is_replaced_is_set_aside(tmp_path: Path) -> None:
    home = tmp_path / "n"
    home.mkdir()
    write_identity(home, Identity("id-1", "shed", {}, "http://h", "h"), "s3cret", RealDisk())
    async with sealed_node(home, on=False) as node:
        await publish(node, 1)
        made = maker(home).to_directory("everything")
        await publish(node, 11, text="later ")
    (home / "workloads/a").mkdir(parents=True)
    told = restored(made, home, replace=True)
    aside = Path(told.replaced)
    assert aside.parent == home
    assert (told.kept, told.left_behind) == (False, 10)
    async with sealed_node(home, on=False) as node:
        assert len(values(node.records)) == 10
    async with sealed_node(aside, on=False) as node:
        assert len(values(node.records)) == 20
    assert (home / "node.secret").read_text() == "s3cret\n"
    assert not (aside / "node.secret").exists()
    assert not told.keyless
    assert (home / "workloads/a").is_dir()
    assert Path(made.path).is_file()


@pytest.mark.guarantee("G10")
@pytest.mark.parametrize("certificate", [True, False])
@pytest.mark.parametrize("holds", ["everything", "database"])
async def test_a_backup_that_is_not_sealed_has_nothing_that_proves_the_node(
    tmp_path: Path, holds: Holds, certificate: bool
) -> None:
    home = tmp_path / "n"
    home.mkdir()
    identity = Identity("id-1", "shed", {}, "http://h", "h", certificate=certificate)
    write_identity(home, identity, "s3cret-canary", RealDisk())
    proxies = Proxies(https="http://ann:pr0xy-canary@proxy.lan:3128")
    async with sealed_node(home, on=False) as node:
        await publish(node, 1)
        files = TrustFiles(home, RealDisk(), node.store.cipher)
        files.keep_own((pem("PRIVATE KEY", "k3y-canary") + pem("CERTIFICATE", "c")).encode())
        files.keep_bundle(TrustBundle(1, [pem("CERTIFICATE", "root")]))
        wanted = replace(settings(home), proxies=proxies)
        for passphrase in (None, PASSPHRASE):
            Maker(wanted, RealDisk(), SystemClock(), passphrase).to_directory(holds)
    plain, sealed = (Archive(path) for path in sorted((home / "backups").glob("*.skb")))

    def proofs(archive: Archive, key: ArchiveKey | None) -> set[str]:
        inside = b"".join(b"".join(member.content) for member in archive.members(key))
        return {word for word in ("s3cret", "k3y", "pr0xy") if f"{word}-canary".encode() in inside}

    _, key = open_backup(sealed.path, settings(home), Keeping(passphrase=PASSPHRASE))
    assert proofs(sealed, key) == {"s3cret", "k3y"}
    assert proofs(plain, None) == set()
    assert restored(plain.path, tmp_path / "m").keyless
    assert not restored(plain.path, home, replace=True).keyless
    assert (home / "node.secret").read_text() == "s3cret-canary\n"
    assert b"k3y-canary" in (home / "trust/node.pem").read_bytes()
    assert not restored(sealed.path, tmp_path / "o", keeping=Keeping(passphrase=PASSPHRASE)).keyless


class EndingDisk(FaultyDisk):
    """The process ends after the rename of this number, not before it."""

    def rename(self, label: str, path: Path, target: Path) -> None:
        RealDisk().rename(label, path, target)
        self._step(label)


async def proven(home: Path, *, on: bool = False) -> None:
    """Gives the node of this directory all that it proves itself by."""
    home.mkdir(exist_ok=True)
    identity = Identity("id-1", "shed", {}, "http://h", "h", certificate=True)
    async with sealed_node(home, on=on) as node:
        write_identity(home, identity, "s3cret", RealDisk())
        seal_secret(home, node.store.cipher, RealDisk())
        files = TrustFiles(home, RealDisk(), node.store.cipher)
        files.keep_own((pem("PRIVATE KEY", "k") + pem("CERTIFICATE", "c")).encode())
        files.keep_bundle(TrustBundle(1, [pem("CERTIFICATE", "root")]))
        await publish(node, 1)


@pytest.mark.guarantee("G10")
async def test_a_restore_that_is_done_again_leaves_what_proves_the_node(tmp_path: Path) -> None:
    home = tmp_path / "n"
    await proven(home)
    made = maker(home).to_file(tmp_path / "b.skb")
    for number in range(1, 100):
        disk = EndingDisk(number)
        try:
            restored(made, home, replace=True, disk=disk)
        except OSError:
            assert not restored(made, home, replace=True).keyless
            assert (home / "node.secret").read_text() == "s3cret\n"
            assert (home / "trust/node.pem").exists()
        else:
            break
    assert number > 3


@pytest.mark.guarantee("G2")
async def test_what_is_sealed_by_keys_that_go_is_set_aside_and_told(tmp_path: Path) -> None:
    """A backup of before encryption was turned on: the node starts, without its hub."""
    home = tmp_path / "n"
    await proven(home)
    made = maker(home).to_file(tmp_path / "b.skb")
    await proven(home, on=True)
    told = restored(made, home, on=True, replace=True)
    assert told.keyless
    assert (Path(told.replaced) / "trust/node.pem").exists()
    async with sealed_node(home, on=True) as node:
        assert TrustFiles(home, RealDisk(), node.store.cipher).own() is None
        assert with_secret(home, read_identity(home), node.store.cipher, RealDisk())


async def test_a_restore_that_is_cut_off_keeps_the_node_from_starting_until_it_is_done_again(
    tmp_path: Path,
) -> None:
    home = tmp_path / "n"
    async with sealed_node(home, on=False) as node:
        await publish(node, 1)
        made = maker(home).to_file(tmp_path / "b.skb")
    cuts = 0
    for number in range(1, 100):
        disk = FaultyDisk(number)
        try:
            restored(made, home, replace=True, disk=disk)
        except OSError:
            cuts += 1
        else:
            break
        if (home / "restore.unfinished").exists():
            with pytest.raises(Refused, match="a restore was cut off"):
                async with sealed_node(home, on=False):
                    pass
        else:
            async with sealed_node(home, on=False) as node:
                assert len(values(node.records)) == 10
    assert cuts > 10
    async with sealed_node(home, on=False) as node:
        assert len(values(node.records)) == 10


class TwoFileSystems(FaultyDisk):
    """What is below `other` is on another one. `torn` would be lost by a power cut, `whole` was synced and named."""

    def __init__(self, other: Path, fail_at: int = 0) -> None:
        super().__init__(fail_at)
        self._other = other
        self._names: dict[int, Path] = {}
        self.torn: set[Path] = set()
        self.whole: set[Path] = set()

    def open_append(self, label: str, path: Path) -> int:
        fd = super().open_append(label, path)
        self._names[fd] = path
        return fd

    def append(self, label: str, fd: int, data: bytes) -> None:
        super().append(label, fd, data)
        self.torn.add(self._names[fd])

    def sync(self, label: str, fd: int) -> None:
        super().sync(label, fd)
        self.torn.discard(self._names[fd])

    def rename(self, label: str, path: Path, target: Path) -> None:
        if path.is_relative_to(self._other) != target.is_relative_to(self._other):
            raise OSError(errno.EXDEV, "another file system")
        assert path not in self.torn
        super().rename(label, path, target)
        self.whole.add(target)


@pytest.mark.guarantee("G1")
async def test_a_database_on_another_file_system_is_put_there_whole(tmp_path: Path) -> None:
    async with sealed_node(tmp_path / "n", on=False) as node:
        await publish(node, 1)
        made = maker(tmp_path / "n").to_file(tmp_path / "b.skb")
    home, there = tmp_path / "m", tmp_path / "other" / "node.db"
    wish = settings(home, path=str(there))
    archive, key = open_backup(Path(made.path), wish, Keeping())
    cuts = 0
    for number in range(1, 200):
        disk = TwoFileSystems(there.parent, number)
        try:
            Restorer(wish, disk, SystemClock()).restore(archive, key, replace=True)
        except OSError:
            cuts += 1
            assert not there.exists() or not integrity_problem(there, NullCipher())
            continue
        break
    disk = TwoFileSystems(there.parent)
    told = Restorer(wish, disk, SystemClock()).restore(archive, key, replace=True)
    assert cuts > 15
    assert there in disk.whole
    assert Path(told.replaced, "node.db") in disk.whole
    assert disk.torn == set()
    assert not integrity_problem(Path(told.replaced, "node.db"), NullCipher())
    assert not (home / "restore.unfinished").exists()
    assert not list(tmp_path.rglob("*.new"))
