"""Secrets from the hub to workloads on real nodes: delivered, rotated, there after a reboot without a network, and nowhere to be read."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.installation import Hub, Installation, Node, installation, sleeper

from skerry.kit.errors import SkerryError
from skerry.testing.waiting import eventually
from skerry.wire.secret_views import SecretPut, SecretView
from skerry.wire.secrets import SecretUse
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

CANARY = "c4n4ry-of-secrets-0123"

SHOWS = """
import os, pathlib, signal, sys, urllib.parse, base64
at = pathlib.Path(os.environ["SKERRY_SECRETS"], "db")
value = at.read_text()
print("file", oct(at.stat().st_mode & 0o777), value, flush=True)
print("env", os.environ["DB"], base64.b64encode(b"user:" + value.encode()).decode(), urllib.parse.quote(value + "/?"), flush=True)
pathlib.Path(os.environ["HOME"], "seen").write_text(str(len(value)) + " " + value[-1])
signal.pause()
"""


@pytest.fixture
async def site(short_dir: Path) -> AsyncIterator[Installation]:
    async with installation(short_dir) as found:
        yield found


async def put(hub: Hub, name: str, value: str, on: Selector | None = None) -> SecretView:
    async with hub.api() as api:
        body = SecretPut(value.encode(), on)
        return await api.send("PUT", f"/api/v1/secrets/{name}", body, SecretView)


async def started(at: Installation, name: str = "n1", **labels: str) -> Node:
    node = at.node(name)
    await node.enrol(at.hub, labels)
    await node.start()
    await node.ready()
    return node


def shows(name: str = "shows") -> WorkloadSpec:
    return WorkloadSpec(
        name=name,
        process=ProcessSpec(command=["python", "-c", SHOWS]),
        secrets=[SecretUse(name="db"), SecretUse(name="db", env="DB")],
    )


def seen(node: Node, workload: str = "shows") -> str:
    path = node.directory / "workloads" / workload / "seen"
    return path.read_text() if path.exists() else ""


async def message(node: Node, workload: str) -> str:
    status = await node.status()
    found = [] if status is None else [w for w in status.workloads if w.workload == workload]
    return found[0].message if found else ""


@pytest.mark.timeout(120)
@pytest.mark.guarantee("G10")
async def test_a_secret_reaches_its_workload_and_stands_nowhere(
    site: Installation, short_dir: Path
) -> None:
    node = await started(site)
    await site.hub.apply(shows())

    async def waits() -> bool:
        return "secret «db»: it does not exist" in await message(node, "shows")

    await eventually(waits, "it says what it waits for")
    view = await put(site.hub, "db", CANARY)
    assert (view.version, view.used_by) == (1, ["shows"])
    await eventually(lambda: seen(node) == f"{len(CANARY)} 3", "it has its secret")
    log = node.directory / "logs" / "shows" / "current.log"
    await eventually(lambda: b"env" in log.read_bytes(), "it has printed it")
    assert b"file 0o400 ***" in log.read_bytes()

    for form in forms():
        assert found_below(short_dir, form) == []
    for pid in [each for each in Path("/proc").iterdir() if each.name.isdecimal()]:
        assert CANARY.encode() not in words_of(pid / "cmdline")
    pids = await node.pids()
    others = set(node.processes()) - set(pids.values())
    assert all(CANARY.encode() not in words_of(Path(f"/proc/{pid}/environ")) for pid in others)


@pytest.mark.timeout(120)
@pytest.mark.guarantee("G2")
async def test_a_node_that_reboots_without_a_network_has_its_secrets(site: Installation) -> None:
    node = await started(site)
    await put(site.hub, "db", CANARY)
    await site.hub.apply(shows())
    await eventually(lambda: bool(seen(node)), "it runs")
    await site.hub.kill()
    await node.kill()
    node.clean()
    (node.directory / "workloads" / "shows" / "seen").unlink()
    await node.start()
    await node.ready()
    await eventually(lambda: seen(node) == f"{len(CANARY)} 3", "it has its secret again")
    await site.hub.start()


@pytest.mark.timeout(120)
async def test_a_new_value_restarts_its_users_and_no_others(site: Installation) -> None:
    node = await started(site)
    await put(site.hub, "db", CANARY)
    await site.hub.apply(shows(), sleeper("other"), staying())
    await eventually(lambda: node.runs("shows", "other", "stays"), "they run")
    await eventually(lambda: bool(seen(node)), "it has seen it")
    before = await node.pids()
    assert (await put(site.hub, "db", f"{CANARY}-new-9")).version == 2
    await eventually(lambda: seen(node).endswith(" 9"), "it has the new one")

    async def runs_again() -> bool:
        return await node.runs("shows", "other", "stays")

    await eventually(runs_again, "all run")
    after = await node.pids()
    assert after["shows"] != before["shows"]
    assert (after["other"], after["stays"]) == (before["other"], before["stays"])
    file = Path(f"/proc/{after['stays']}/environ").read_bytes().partition(b"SKERRY_SECRETS=")[2]
    path = Path(file.partition(b"\0")[0].decode(), "cert")
    await eventually(lambda: path.read_text() == f"{CANARY}-new-9", "the file is another")


@pytest.mark.timeout(120)
async def test_a_secret_is_for_the_nodes_that_may_have_it(site: Installation) -> None:
    node = await started(site, site="lab")
    await put(site.hub, "db", CANARY, Selector(labels={"site": "office"}))
    await site.hub.apply(shows())

    async def waits() -> bool:
        return "secret «db»: it is not for this node" in await message(node, "shows")

    await eventually(waits, "it is refused")
    other = await started(site, "n2", site="office")
    await eventually(lambda: bool(seen(other)), "a new node that may have it gets it")
    async with site.hub.api() as api:
        [view] = await api.get("/api/v1/secrets", list[SecretView])
        assert (view.name, view.nodes) == ("db", ["n2"])
        with pytest.raises(SkerryError, match="shows need it"):
            await api.order("DELETE", "/api/v1/secrets/db")


@pytest.mark.timeout(120)
async def test_a_node_that_lost_its_key_is_sealed_its_secrets_anew(site: Installation) -> None:
    node = await started(site)
    await put(site.hub, "db", CANARY)
    await site.hub.apply(shows())
    await eventually(lambda: bool(seen(node)), "it runs")
    await node.kill()
    node.clean()
    (node.directory / "trust" / "secrets.key").unlink()
    (node.directory / "workloads" / "shows" / "seen").unlink()
    await node.start()
    await node.ready()
    await eventually(lambda: bool(seen(node)), "it has its secret again")


def staying() -> WorkloadSpec:
    return sleeper("stays", secrets=[SecretUse(name="db", file="cert", restart=False)])


def forms() -> list[bytes]:
    raw = CANARY.encode()
    return [
        raw,
        raw.hex().encode(),
        base64.b64encode(raw)[:20],
        base64.b64encode(b"user:" + raw)[8:24],
    ]


def found_below(directory: Path, form: bytes) -> list[str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [str(path.relative_to(directory)) for path in files if form in path.read_bytes()]


def words_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""
