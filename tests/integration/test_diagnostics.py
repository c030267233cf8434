"""`skerry node diagnostics` and `skerry device diagnostics` with real nodes that are full of secrets: what support needs is in it, and none of those."""

import asyncio
import io
import json
import os
import re
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.installation import Node
from tests.secret_site import put
from tests.shell import Shell
from tests.small_disk import fill, small_disk

from skerry.sdk.content import Content
from skerry.testing.waiting import eventually
from skerry.wire.records import PublishedRecord
from skerry.wire.secrets import SecretUse
from skerry.wire.workload import Logs, ProcessSpec, WorkloadSpec

pytestmark = [pytest.mark.timeout(180)]

CANARY = "c4n4ry"
"""In each of the secrets here, besides those that Skerry makes itself."""

TALKS = """
import os, signal
for name in ("PLAIN", "DB_PASSWORD", "GIVEN"):
    print(name, "is", os.environ[name], flush=True)
print(open(os.environ["SKERRY_SECRETS"] + "/db").read(), flush=True)
print("https://me:c4n4ry-in-an-address@host/x", flush=True)
print("-----BEGIN PRIVATE KEY-----\\nc4n4ryc4n4ry\\n-----END PRIVATE KEY-----", flush=True)
print("it has talked", flush=True)
signal.pause()
"""
"""Says all that it has been given."""

ALWAYS = {"manifest", "settings", "trust", "inventory", "files", "device", "disks", "database", "workloads"}  # fmt: skip
ASKED = {"status", "sync", "sync-log", "keys", "doctor", "security", "storage"}


def members(path: Path) -> dict[str, bytes]:
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def own_secrets(node: Node, shell: Shell) -> list[bytes]:
    """Those that Skerry has made: the node's key and the hub's token."""
    pem = (node.directory / "trust" / "node.pem").read_text()
    key = re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.+?)\n-----END", pem, re.DOTALL)
    assert key is not None
    token = (shell.site.hub.directory / "admin.token").read_bytes().strip()
    secret = (node.directory / "node.secret").read_bytes().strip()
    return [each for each in (*key[1].encode().split(), token, secret) if each]


def shows_secret(found: dict[str, bytes], secrets: list[bytes]) -> list[str]:
    texts = [CANARY.encode(), CANARY.encode().hex().encode(), *secrets]
    return [name for name, data in found.items() if any(text in name.encode() + data for text in texts)]  # fmt: skip


async def full_of_secrets(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sealed: bool = False
) -> Node:
    """A node that runs, with a canary wherever one can be."""
    password = tmp_path / "registry-password"
    password.write_text("c4n4ry-of-the-registry\n")
    password.chmod(0o600)
    monkeypatch.setenv("http_proxy", "http://me:c4n4ry-of-the-proxy@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("MAIL_PASSWORD", "c4n4ry-around-the-agent")
    registries = json.dumps({"registry.example": {"username": "me", "password_file": str(password)}})  # fmt: skip
    node = shell.site.node()
    node.options += ["--set", f"encryption.storage.enabled={str(sealed).lower()}"]
    await node.enrol(shell.site.hub)
    (node.directory / "node.yaml").write_text(f"containers: {{registries: {registries}}}\n")
    (node.directory / "enrol.token").write_text("c4n4ry-to-enrol-with\n")
    await put(shell.site.hub, "db", "c4n4ry-of-secrets")
    spec = WorkloadSpec(
        name="talks",
        process=ProcessSpec(command=["python", "-c", TALKS]),
        env={"PLAIN": "c4n4ry-plain", "DB_PASSWORD": "c4n4ry-db-password"},
        secrets=[SecretUse(name="db"), SecretUse(name="db", env="GIVEN")],
        logs=Logs(redact_secrets=False),
    )
    await shell.site.hub.apply(spec)
    await node.start()
    await node.ready()
    log = node.directory / "logs" / "talks" / "current.log"
    await eventually(lambda: log.exists() and "it has talked" in log.read_text(), "it has talked")
    publisher = node.publisher("talks")
    record = PublishedRecord("env.c", "c4n4ry-in-a-record", meta={"note": "c4n4ry-in-its-meta"})
    await asyncio.to_thread(publisher.publish, "measurement", [record], None)
    await asyncio.to_thread(publisher.upload, Content(b"c4n4ry in a file" * 100), PublishedRecord("pic", ""), None)  # fmt: skip
    with node.log.open("a") as agents:
        agents.write("cannot ask http://me:c4n4ry-of-the-proxy@127.0.0.1:9: c4n4ry-around-the-agent c4n4ry-of-the-registry\n")  # fmt: skip
    return node


async def bundle(shell: Shell, path: Path, *words: str) -> tuple[dict[str, bytes], Any]:
    done = await shell.run("node", "diagnostics", "--to", str(path), "-o", "json", *words)
    assert done.code == 0, done.err
    told: Any = done.json
    found = members(path)
    assert sorted(found) == told["members"]
    assert path.stat().st_mode & 0o777 == 0o600
    return found, json.loads(found["manifest.json"])


@pytest.mark.guarantee("G10")
async def test_no_secret_is_in_it_whether_the_agent_runs_stands_still_or_has_ended(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await full_of_secrets(shell, tmp_path, monkeypatch)
    secrets = own_secrets(node, shell)
    running, manifest = await bundle(shell, tmp_path / "runs.tar.zst")
    assert shows_secret(running, secrets) == []
    assert running.keys() >= {f"{name}.json" for name in ALWAYS | ASKED}
    assert set(manifest["missing"]) <= {"logs/keeper.log"}
    assert b"it has talked" in running["logs/workloads/talks.log"]
    assert b"PLAIN is ***" in running["logs/workloads/talks.log"]
    assert b"cannot ask http://***@127.0.0.1:9: *** ***\n" in running["logs/agent.log"]
    settings = running["settings.json"].decode()
    assert "registry-password" in settings
    assert "http://***@127.0.0.1:9" in settings
    assert json.loads(running["workloads.json"])[0]["environment"] == ["DB_PASSWORD", "PLAIN"]
    assert manifest["node"]["name"] == "n1"
    assert json.loads(running["database.json"])["whole"] == ["ok"]
    assert json.loads(running["trust.json"])["roots"] >= 1

    node.process.send(signal.SIGSTOP)
    frozen, manifest = await bundle(shell, tmp_path / "frozen.tar.zst")
    node.process.send(signal.SIGCONT)
    assert shows_secret(frozen, secrets) == []
    assert frozen.keys() >= {f"{name}.json" for name in ALWAYS}
    assert set(manifest["missing"]) >= ASKED
    assert "does not answer" in manifest["missing"]["status"]
    assert b"it has talked" in frozen["logs/workloads/talks.log"]
    assert json.loads(frozen["agent.json"])["status"]["State"].startswith("T")

    await node.process.end()
    before = {path.name for path in node.directory.iterdir()}
    stopped, manifest = await bundle(shell, tmp_path / "stopped.tar.zst")
    assert shows_secret(stopped, secrets) == []
    assert stopped.keys() >= {f"{name}.json" for name in ALWAYS}
    assert "not running" in manifest["missing"]["status"]
    assert {path.name for path in node.directory.iterdir()} - before <= {"node.db-shm", "node.db-wal"}  # fmt: skip


@pytest.mark.guarantee("G10")
async def test_what_is_sealed_stays_sealed_and_what_runs_tells_what_to_mask(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await full_of_secrets(shell, tmp_path, monkeypatch, sealed=True)
    found, manifest = await bundle(shell, tmp_path / "sealed.tar.zst")
    assert shows_secret(found, []) == []
    assert b"PLAIN is ***" in found["logs/workloads/talks.log"]
    assert json.loads(found["workloads.json"])[0]["environment"] is None
    assert json.loads(found["database.json"])["sealed"]
    assert "sealed beside its key" in manifest["missing"]["trust"]
    assert node.process.runs


@pytest.mark.guarantee("G10")
async def test_through_the_hub_it_is_what_the_device_itself_would_write_and_has_no_secret(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await full_of_secrets(shell, tmp_path, monkeypatch)
    before = {path.name for path in node.directory.iterdir()}
    path = tmp_path / "far.tar.zst"
    done = await shell.run("device", "diagnostics", "n1", "--to", str(path), "-o", "json")
    assert done.code == 0, done.err
    found = members(path)
    assert shows_secret(found, own_secrets(node, shell)) == []
    assert found.keys() >= {f"{name}.json" for name in ALWAYS | ASKED}
    assert b"it has talked" in found["logs/workloads/talks.log"]
    assert b"cannot ask http://***@127.0.0.1:9: *** ***\n" in found["logs/agent.log"]
    told: Any = done.json
    assert sorted(found) == told["members"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in node.directory.iterdir()} == before
    again = await shell.run("device", "diagnostics", "n1", "--to", str(path))
    assert (again.code, "it is there already" in again.err) == (1, True)
    audit = await shell.run("audit", "list", "-o", "json")
    assert "fetch_diagnostics" in audit.out

    await node.process.end()
    gone = await shell.run("device", "diagnostics", "n1", "--to", str(tmp_path / "gone"))
    assert gone.code == 1
    assert "cannot reach node «n1»: it has no live link" in gone.err
    assert sorted(each.name for each in tmp_path.glob("gone*")) == []


async def test_what_stands_in_the_way_is_a_sentence_and_nothing_is_left(
    shell: Shell, tmp_path: Path
) -> None:
    (shell.node_dir / "logs").mkdir(parents=True)
    there = tmp_path / "there"
    there.write_text("mine")
    done = await shell.run("node", "diagnostics", "--to", str(there))
    assert (done.code, there.read_text()) == (1, "mine")
    assert "it is there already" in done.err
    with small_disk(tmp_path / "disk", 20) as disk:
        fill(disk)
        done = await shell.run("node", "diagnostics", "--to", str(disk / "b"))
        assert (done.code, [path.name for path in disk.iterdir()]) == (1, ["hog"])
        assert "0 B are free there" in done.err
    none = await shell.run("node", "diagnostics", "--to", str(tmp_path / "b"), "--data-dir", str(tmp_path / "none"))  # fmt: skip
    assert (none.code, "there is no node there" in none.err) == (1, True)


async def test_a_directory_in_any_state_gives_what_it_has(shell: Shell, tmp_path: Path) -> None:
    logs = shell.node_dir / "logs"
    for number in range(25):
        (logs / f"w{number}").mkdir(parents=True)
        line = b"%0999d\n" % number if number < 24 else b"short\n"
        (logs / f"w{number}" / "current.log").write_bytes(line * 10_000)
    for name in (b"x\ny", b"\xff", b"..."):
        odd = Path(os.fsdecode(os.fsencode(logs) + b"/" + name))
        odd.mkdir()
        (odd / "current.log").write_text("odd\n")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "current.log").write_text("c4n4ry\n")
    (logs / "linked").symlink_to(outside)
    (logs / "file").mkdir()
    (logs / "file" / "current.log").symlink_to(outside / "current.log")
    (shell.node_dir / "node.db").write_bytes(b"no database" * 1000)
    (shell.node_dir / "identity.json").write_text("{")
    (shell.node_dir / "node.yaml").write_text("nonsense: [\n")
    found, manifest = await bundle(shell, tmp_path / "b.tar.zst")
    assert shows_secret(found, []) == []
    texts = {name: data for name, data in found.items() if name.startswith("logs/")}
    assert max(map(len, texts.values())) <= 1 << 20
    assert 19 << 20 < sum(map(len, texts.values())) <= 20 << 20
    assert texts["logs/workloads/w24.log"] == b"short\n" * 2000
    assert "newer logs already" in manifest["missing"]["logs/workloads/w0.log"]
    assert {f"logs/workloads/{name}.log" for name in ("x%0Ay", "%FF", "%2E..")} <= found.keys()
    missing = manifest["missing"]
    assert missing.keys() >= {"settings", "identity", "database", "status", "trust"}
    assert "symbolic link" in missing["logs/workloads/file.log"]
