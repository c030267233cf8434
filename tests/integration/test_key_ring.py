"""The key ring of a directory: where its key comes from, what survives which loss, and what is never touched."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sealing_rig import RULE, ring, where
from tests.software_tpm import software_tpm

from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused
from skerry.kit.sealing.cipher import Place
from skerry.kit.sealing.key_ring import unlocked_ring
from skerry.kit.sealing.keys import (
    RESERVED_AT_ONCE,
    Keys,
    Rule,
    due,
    with_new,
    without,
)
from skerry.kit.sealing.sources import obtain, parse, source_fault
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.manual_clock import ManualClock

PLACE = Place("t", "c", ("1",))
DAY = 86400


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_a_ring_is_made_once_and_opens_again(tmp_path: Path) -> None:
    sealed = ring(tmp_path).cipher("store").seal(b"x", PLACE)
    again = ring(tmp_path)
    assert again.cipher("store").open(sealed, PLACE) == b"x"
    names = ["keys.copy.json", "keys.json", "keys.uncounted", "storage.key"]
    assert sorted(files(tmp_path)) == names
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert again.key_is_beside
    assert again.source_words.startswith("software key beside the data")
    secrets = [key.secret for key in again.keys.keys]
    assert len(set(secrets)) == 3
    assert not any(secret in content for secret in secrets for content in files(tmp_path).values())


def test_a_wrong_key_refuses_and_touches_nothing(tmp_path: Path) -> None:
    ring(tmp_path)
    (tmp_path / "storage.key").write_text("00" * 32)
    before = files(tmp_path)
    with pytest.raises(Refused, match="another key-encryption key"):
        ring(tmp_path)
    assert files(tmp_path) == before


def test_a_missing_key_refuses_and_makes_no_other(tmp_path: Path) -> None:
    ring(tmp_path)
    (tmp_path / "storage.key").unlink()
    before = files(tmp_path)
    with pytest.raises(Refused, match="cannot read the key in"):
        ring(tmp_path)
    assert files(tmp_path) == before


def test_a_lost_ring_is_not_replaced_while_something_is_sealed(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="keys.json is gone"):
        ring(tmp_path, in_use={1: 1})
    assert files(tmp_path) == {}


def test_a_ring_that_is_older_than_the_data_refuses_and_one_bad_row_does_not(
    tmp_path: Path,
) -> None:
    ring(tmp_path)
    before = files(tmp_path)
    with pytest.raises(Refused, match="key 0000000a of its data is not in keys.json"):
        ring(tmp_path, in_use={10: 2})
    assert files(tmp_path) == before
    assert ring(tmp_path, in_use={10: 1})


@pytest.mark.parametrize("name", ["keys.json", "keys.copy.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "bit"])
def test_either_file_is_enough(tmp_path: Path, name: str, damage: str) -> None:
    sealed = ring(tmp_path).cipher("records").seal(b"x", PLACE)
    path = tmp_path / name
    match damage:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:100])
        case _:
            content = bytearray(path.read_bytes())
            content[-40] = ord("A") if content[-40] != ord("A") else ord("B")
            path.write_bytes(bytes(content))
    assert ring(tmp_path).cipher("records").open(sealed, PLACE) == b"x"
    content = files(tmp_path)
    assert content["keys.json"] == content["keys.copy.json"]


def test_both_damaged_refuse(tmp_path: Path) -> None:
    ring(tmp_path)
    for name in ("keys.json", "keys.copy.json"):
        (tmp_path / name).write_bytes(b"{")
    with pytest.raises(Refused, match="they are damaged"):
        ring(tmp_path)


def test_rotation_is_kept_before_it_is_in_force(tmp_path: Path) -> None:
    """Whatever write fails: what was sealed opens after the next start."""
    for fail_at in range(1, 9):
        directory = tmp_path / str(fail_at)
        directory.mkdir()
        ring(directory)
        disk = FaultyDisk(fail_at)
        sealed = []
        try:
            held = ring(directory, disk=disk)
            sealed.append(held.cipher("store").seal(b"old", PLACE))
            held.rotate(["store"])
            sealed.append(held.cipher("store").seal(b"new", PLACE))
            held.destroy(set())
        except OSError:
            if sealed:
                sealed.append(held.cipher("store").seal(b"later", PLACE))
        again = ring(directory)
        for each in sealed:
            assert again.cipher("store").open(each, PLACE) in {b"old", b"new", b"later"}


def test_keys_are_due_by_age_count_and_algorithm(tmp_path: Path) -> None:
    clock = ManualClock()
    held = ring(tmp_path, clock=clock)
    assert held.due() == []
    old = held.keys
    now = clock.wall_ns()
    assert due(old, now + 30 * DAY * 10**9, RULE) == ["store", "records", "files"]
    assert due(old, now + 30 * DAY * 10**9 - 1, RULE) == []
    assert due(old, now, Rule(RULE.age, RULE.algorithm, messages=RESERVED_AT_ONCE)) == [
        "store", "records", "files",
    ]  # fmt: skip
    assert len(due(old, now, Rule(RULE.age, "ChaCha20-Poly1305"))) == 3
    held.rotate(["records"])
    assert held.keys.retired == {old.in_force("records").id}
    assert held.keys.in_force("store") == old.in_force("store")
    assert without(held.keys, {old.in_force("store").id}).in_force("store")
    assert with_new(Keys(0, [], plain=False), old.keys).keys == old.keys


def test_another_key_encryption_key_is_a_rewrap_only(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.key"
    data = tmp_path / "data"
    data.mkdir()
    held = ring(data)
    sealed = held.cipher("store").seal(b"x", PLACE)
    moved = ring(data, f"file:{elsewhere}")
    assert moved.keys.keys[0].id == held.keys.keys[0].id
    assert not moved.key_is_beside
    (data / "storage.key").unlink()
    assert ring(data, f"file:{elsewhere}").cipher("store").open(sealed, PLACE) == b"x"


def test_a_passphrase_opens_only_as_it_was(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "phrase"
    data.mkdir()
    file.write_text("correct horse battery staple\n")
    file.chmod(0o600)
    sealed = ring(data, f"passphrase:{file}").cipher("store").seal(b"x", PLACE)
    file.write_text("correct horse battery staple")
    assert ring(data, f"passphrase:{file}").cipher("store").open(sealed, PLACE) == b"x"
    file.write_text("correct horse battery stable")
    with pytest.raises(Refused, match="another key-encryption key"):
        ring(data, f"passphrase:{file}")
    file.write_text("short")
    with pytest.raises(Refused, match="shorter than"):
        ring(data, f"passphrase:{file}")


def test_a_passphrase_comes_through_a_pipe(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"correct horse battery staple\n")
    os.close(write)
    try:
        assert ring(tmp_path, f"passphrase:/dev/fd/{read}").keys.plain
    finally:
        os.close(read)


def test_a_file_that_others_may_read_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "open.key"
    file.write_text("ab" * 32)
    file.chmod(0o640)
    with pytest.raises(Refused, match="others may read it"):
        ring(tmp_path, f"file:{file}")


def test_a_systemd_credential(tmp_path: Path) -> None:
    data, credentials = tmp_path / "data", tmp_path / "credentials"
    data.mkdir()
    credentials.mkdir()
    (credentials / "skerry").write_bytes(random.randbytes(32))
    sealed = (
        ring(data, "credential:skerry", credentials=credentials).cipher("store").seal(b"x", PLACE)
    )
    again = ring(data, "credential:skerry", credentials=credentials)
    assert again.cipher("store").open(sealed, PLACE) == b"x"
    with pytest.raises(Refused, match="LoadCredential"):
        ring(data, "credential:skerry")
    (credentials / "skerry").write_bytes(b"too short")
    with pytest.raises(Refused, match="32 bytes or 64 hex digits") as told:
        ring(data, "credential:skerry", credentials=credentials)
    assert "put back the one that the data is sealed with" in str(told.value)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with pytest.raises(Refused, match="Make one"):
        ring(fresh, "credential:skerry", credentials=credentials)


@pytest.mark.parametrize(
    "text", ["", "tmp", "file:relative", "passphrase:", "tpm:sha512:x", "credential:a b"]
)
def test_what_is_no_source_is_told(text: str) -> None:
    assert "no source of a key" in (source_fault(text) or "")


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with software_tpm(tmp_path_factory.mktemp("tpm")):
        yield


@pytest.mark.usefixtures("tpm")
def test_a_tpm_releases_the_key_while_its_registers_are_as_they_were(tmp_path: Path) -> None:
    free, bound = tmp_path / "free", tmp_path / "bound"
    for directory in (free, bound):
        directory.mkdir()
    sealed = ring(free, "tpm").cipher("store").seal(b"x", PLACE)
    assert ring(free, "tpm").cipher("store").open(sealed, PLACE) == b"x"
    assert ring(bound, "tpm:sha256:16").source_words == (
        "TPM 2.0 of this device, released while PCRs sha256:16 are unchanged"
    )
    for _ in range(4):  # slots for three objects: each must be given back
        ring(bound, "tpm:sha256:16")
    subprocess.run(["tpm2_pcrextend", "16:sha256=" + "ab" * 32], check=True, capture_output=True)
    before = files(bound)
    with pytest.raises(Refused, match="The key is released by the TPM that sealed it"):
        ring(bound, "tpm:sha256:16")
    assert files(bound) == before
    assert ring(free, "tpm").keys


def test_without_a_tpm_the_sentence_is_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPM2TOOLS_TCTI", "swtpm:host=127.0.0.1,port=1")
    with pytest.raises(Refused, match="cannot use the TPM"):
        ring(tmp_path, "tpm")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_made_where_only_something_is_looked_for(tmp_path: Path) -> None:
    source = ring(tmp_path).source
    assert obtain(source, where(tmp_path))
    assert parse("file").is_same(source)
    assert RealDisk().free_bytes(tmp_path)


OLD, NEW = "correct horse battery staple", "wrong horse generator paperclip"


def phrase_file(directory: Path, text: str = OLD) -> Path:
    file = directory / "phrase"
    file.write_text(f"{text}\n")
    file.chmod(0o600)
    return file


def opens_with(directory: Path, file: Path, text: str, sealed: bytes) -> bool:
    """Whether this passphrase opens what is there, and with the ring what was sealed."""
    before, held = files(directory), file.read_bytes()
    file.write_text(text)
    try:
        found = unlocked_ring(RULE, where(directory), RealDisk(), ManualClock())
        return found.cipher("store").open(sealed, PLACE) == b"x"
    except Refused:
        return False
    finally:
        assert files(directory) == before
        file.write_bytes(held)


def test_a_passphrase_is_changed_in_place(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    file = phrase_file(tmp_path)
    held = ring(data, f"passphrase:{file}")
    sealed = held.cipher("store").seal(b"x", PLACE)
    with pytest.raises(Refused, match="shorter than"):
        held.change_passphrase(b"short")
    with pytest.raises(Refused, match="more than one line"):
        held.change_passphrase(b"a long enough\none")
    assert opens_with(data, file, OLD, sealed)
    assert held.change_passphrase(NEW.encode())
    assert not held.passphrase_waits
    assert (file.read_text(), file.stat().st_mode & 0o777) == (f"{NEW}\n", 0o600)
    assert opens_with(data, file, NEW, sealed)
    assert not opens_with(data, file, OLD, sealed)
    held.rotate(["store"])
    assert ring(data, f"passphrase:{file}").cipher("store").open(sealed, PLACE) == b"x"


def test_where_somebody_else_puts_the_passphrase_both_open_until_the_new_one_has(
    tmp_path: Path,
) -> None:
    """As where systemd gives it: the file is a link here, which is none of ours to replace."""
    data = tmp_path / "data"
    data.mkdir()
    file, link = phrase_file(tmp_path), tmp_path / "link"
    link.symlink_to(file)
    source = f"passphrase:{link}"
    held = ring(data, source)
    sealed = held.cipher("store").seal(b"x", PLACE)
    assert not held.change_passphrase(NEW.encode())
    held = ring(data, source)  # a start before the new one is in its place
    held.rotate(["store"])
    newer = held.cipher("store").seal(b"x", PLACE)
    assert held.passphrase_waits
    for each in (sealed, newer):
        assert opens_with(data, file, OLD, each)
        assert opens_with(data, file, NEW, each)
    file.write_text(NEW)
    assert not ring(data, source).passphrase_waits
    assert opens_with(data, file, NEW, newer)
    assert not opens_with(data, file, OLD, newer)


def test_a_change_of_the_passphrase_that_fails_or_dies_anywhere_leaves_what_opens(
    tmp_path: Path,
) -> None:
    for fail_at in range(1, 9):
        data = tmp_path / str(fail_at)
        data.mkdir()
        file = phrase_file(data.parent)
        source = f"passphrase:{file}"
        sealed = ring(data, source).cipher("store").seal(b"x", PLACE)
        disk = FaultyDisk()
        held = ring(data, source, disk=disk)
        disk.fail_after(fail_at)
        try:
            held.change_passphrase(NEW.encode())
        except OSError:
            again = ring(data, source)  # it dies here, and is started with what is in the file
            assert again.cipher("store").open(sealed, PLACE) == b"x"
            again.change_passphrase(NEW.encode())
        assert opens_with(data, file, NEW, sealed)
        assert not opens_with(data, file, OLD, sealed)
    assert disk.labels["keys.passphrase"] == 1


def test_only_a_passphrase_is_changed_so(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="sealed by software key beside the data"):
        ring(tmp_path).change_passphrase(NEW.encode())


def test_who_has_the_old_passphrase_learns_nothing_of_the_new_ring(tmp_path: Path) -> None:
    """Not even with the files of the moment at which both opened it."""
    data = tmp_path / "data"
    data.mkdir()
    link = tmp_path / "link"
    link.symlink_to(phrase_file(tmp_path))
    held = ring(data, f"passphrase:{link}")
    held.change_passphrase(NEW.encode())
    coming = held._unlocked.coming
    assert coming
    link.resolve().write_text(NEW)
    assert ring(data, f"passphrase:{link}")._unlocked.kek != coming.kek
