"""`skerry node backup|restore` as a person uses them: where no node runs, and with a recovery passphrase."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.record_rig import values
from tests.sealed_node import edit, publish, sealed_node

pytestmark = pytest.mark.timeout(120)


def skerry(*words: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "skerry.cli.main", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


async def test_from_a_backup_to_another_device_with_the_passphrase(tmp_path: Path) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "stick.skb"
    async with sealed_node(old) as node:
        await publish(node, 1)
        await edit(node, 1)
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("a horse on a stick\n")
    secret = ("--passphrase-file", passphrase)
    code, _, err = skerry("node", "backup", file, "--data-dir", old, *secret)
    assert (code, "others may read it" in err) == (1, True)
    passphrase.chmod(0o600)
    code, out, _ = skerry("node", "backup", file, "--data-dir", old, *secret)
    assert code == 0
    assert f"backed up to {file}: " in out
    assert "encrypted; opened by its key file" in out
    assert "or by its recovery passphrase" in out
    assert f"skerry node restore {file} --data-dir DIRECTORY" in out
    (old / "storage.key").unlink()
    code, _, err = skerry("node", "restore", file, "--data-dir", new)
    assert code == 1
    assert "its recovery passphrase opens it" in err
    code, out, _ = skerry("node", "restore", file, "--check", "--data-dir", new, *secret)
    assert (code, "is whole: everything of node" in out) == (0, True)
    assert not new.exists()
    restore = ("node", "restore", file, "--data-dir", new, "-o", "json", *secret)
    code, out, _ = skerry(*restore)
    told = json.loads(out)
    assert (code, told["data_dir"], told["replaced"]) == (0, str(new), "")
    async with sealed_node(new) as node:
        assert len(values(node.records)) == 10
        code, _, err = skerry(*restore, "--replace")
        assert (code, "its node runs" in err) == (1, True)


async def test_what_is_not_there_or_damaged_is_a_sentence_with_a_way_out(tmp_path: Path) -> None:
    home, file = tmp_path / "n", tmp_path / "b.skb"
    async with sealed_node(home, on=False) as node:
        await publish(node, 1)
    here = ("--data-dir", home)
    code, _, err = skerry("node", "backup", tmp_path / "no" / "b.skb", *here)
    assert (code, f"there is no directory {tmp_path / 'no'}" in err) == (1, True)
    code, _, err = skerry("node", "backup", "--data-dir", tmp_path / "none")
    assert (code, "there is no node.db" in err) == (1, True)
    code, _, err = skerry("node", "restore", file, "--check", *here)
    assert (code, err) == (1, f"skerry: cannot read the backup {file}: No such file or directory\n")
    assert skerry("node", "backup", file, *here)[0] == 0
    code, _, err = skerry("node", "restore", file, "--data-dir", tmp_path / "b.skb" / "new")
    assert (code, "Not a directory" in err) == (1, True), err
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    code, _, err = skerry("node", "restore", file, "--data-dir", tmp_path / "new")
    assert (code, "or take the one before" in err) == (1, True)
