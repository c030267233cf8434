"""Data directories of every version that was ever frozen open in this one (`tools/freeze_data_dir.py` makes them)."""

import json
import shutil
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.installation import Installation, Node, installation, sleeper
from tools import frozen_rows
from tools.freeze_data_dir import all_taken, ending, plain, publish, rows_of, views, wanted

from skerry.cli.enrolment import enrol_here
from skerry.cli.http import node_api
from skerry.node.identity import read_identity
from skerry.node.settings import find_settings, node_settings
from skerry.testing.waiting import eventually
from skerry.wire.local import Doctor, KeyStatus
from skerry.wire.people import NodeView, TokenReply, TokenRequest, WorkloadVersion
from skerry.wire.records import Publish, Published, PublishedRecord, Row

pytestmark = pytest.mark.timeout(120)

FROZEN = sorted((Path(__file__).parents[1] / "fixtures").glob("data-*"))
FILES = {"facts.json", "hub.zip", "node.zip"}
SEAL = ["--set", "encryption.storage.enabled=true"]
OF_A_MACHINE = (b"/tmp/", b"/home/", b"/root/", b"/work/", b"/Users/")

Facts = dict[str, Any]
Key = tuple[str, str, str, int, str, str]


def thaw(frozen: Path, directory: Path, node: str) -> None:
    """The two data directories as they were, for their owner only."""
    for archive, name in (("hub", "hub"), ("node", node)):
        shutil.unpack_archive(frozen / f"{archive}.zip", directory / name)
        for path in (directory / name).rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        (directory / name).chmod(0o700)


def keys(records: list[dict[str, Any]]) -> list[Key]:
    """Records as facts.json has them, in an order of their own, each value with its type."""
    return sorted(
        (
            each["name"],
            each["kind"],
            each["source"],
            each["at"],
            repr(each["value"]),
            json.dumps(each["meta"], sort_keys=True),
        )
        for each in records
    )


def keys_of(rows: list[Row]) -> list[Key]:
    return keys([plain(row) for row in rows])


def keys_of_backlog(facts: Facts) -> list[Key]:
    """What the hub has not seen yet, as it will show it."""
    told = {"kind": "measurement", "source": "camera"}
    return keys(
        [{**told, **each, "meta": each["meta"] or {}} for each in facts["backlog"]["records"]]
    )


def test_there_are_frozen_directories() -> None:
    assert [path.name for path in FROZEN] == [f"data-{n:04d}" for n in range(1, len(FROZEN) + 1)]
    assert FROZEN


@pytest.mark.parametrize("frozen", FROZEN, ids=lambda path: path.name)
def test_a_frozen_directory_is_small_and_says_nothing_about_a_machine(frozen: Path) -> None:
    assert {path.name for path in frozen.iterdir()} <= FILES
    assert sum(path.stat().st_size for path in frozen.iterdir()) < 1_000_000
    for archive in frozen.glob("*.zip"):
        with zipfile.ZipFile(archive) as content:
            for name in content.namelist():
                found = [word for word in OF_A_MACHINE if word in content.read(name)]
                assert found == [], f"{archive.name}: {name}"


@pytest.mark.guarantee("G1")
@pytest.mark.guarantee("G2")
@pytest.mark.parametrize("options", [[], SEAL], ids=["plain", "sealed-at-the-same-start"])
@pytest.mark.parametrize("frozen", FROZEN, ids=lambda path: path.name)
async def test_a_frozen_data_directory_opens(
    tidy_dir: Path, frozen: Path, options: list[str]
) -> None:
    facts = json.loads((frozen / "facts.json").read_text())
    arrived, backlog = keys(facts["arrived"]), keys_of_backlog(facts)
    thaw(frozen, tidy_dir, facts["node"]["name"])
    async with installation(tidy_dir) as site:
        assert keys_of(await site.hub.rows("*")) == arrived
        assert [wanted(view) for view in await views(site)] == facts["workloads"]
        rows = facts.get("rows")
        if rows is not None:
            await rows_are_at_hub(site, rows)
        await site.hub.kill()
        node = site.node(facts["node"]["name"])
        node.options += options
        await node.start()  # in another boot, and with no hub
        await node.ready()
        await knows_itself_and_its_workloads(node, facts)
        assert keys_of(await rows_of(node)) == keys(facts["held"])
        if rows is not None:
            await rows_are_on_node(node, rows)
        again = msgspec.convert(facts["backlog"], Publish)
        assert await publish(node, again) == Published(len(backlog), len(backlog))
        await site.hub.start()
        await enrolled_in_place(site, node, facts)
        await eventually(partial(all_taken, node), "the hub has taken everything")
        assert keys_of(await site.hub.rows("*")) == sorted(arrived + backlog)
        assert (await node.sync()).incarnation == facts["incarnation"]
        if rows is not None:
            await rows_go_on(site, node, rows)
        await goes_on(site, node, facts)
        if options:
            await eventually(partial(all_sealed, node), "nothing plain is left")


async def enrolled_in_place(site: Installation, node: Node, facts: Facts) -> None:
    """A node from before certificates gets one, and stays who it is."""
    identity = read_identity(node.directory)
    assert identity is not None
    if identity.certificate:
        return
    assert await node.process.end() == 0
    sealed = "encryption.storage.enabled=true" in node.options
    options = {
        "data_dir": str(node.directory),
        "name": identity.name,
        "labels": json.dumps(identity.labels),
        "encryption.storage.enabled": json.dumps(sealed),
    }
    async with site.hub.api() as api:
        token = await api.send("POST", "/api/v1/tokens", TokenRequest(), TokenReply)
    settings = node_settings(find_settings(options=options, environment={}))
    again = await enrol_here(settings, token.address, token.token, again=True)
    assert (again.node_id, again.name, again.labels) == tuple(facts["node"][key] for key in ("id", "name", "labels"))  # fmt: skip
    await node.start()
    await node.ready()


async def rows_are_at_hub(site: Installation, rows: Facts) -> None:
    """What was accepted, the edit that lost and the one that waits; a deleted row is not among them."""
    assert await frozen_rows.at_hub(site.hub) == rows["at_hub"]
    assert await frozen_rows.history(site.hub) == rows["history"]
    assert await frozen_rows.waiting(site.hub) == rows["waiting"]


async def rows_are_on_node(node: Node, rows: Facts) -> None:
    """What programs had written, sent or not, shared or not, and what the log says of it."""
    assert await frozen_rows.on_node(node) == rows["on_node"]
    assert await frozen_rows.log_lines(node) == rows["log"]
    assert await frozen_rows.in_conflict(node)
    waiting = {each.name: each.waiting for each in (await node.sync()).entities}
    assert waiting == {"stock": 1, "recipe": 0, "card": 2}


async def rows_go_on(site: Installation, node: Node, rows: Facts) -> None:
    """The frozen frame and what waited arrive once, and the conflict can be decided."""
    await eventually(partial(frozen_rows.all_sent, site, node), "the hub has the edits")
    assert await frozen_rows.at_hub(site.hub) == rows["after"]
    await frozen_rows.decide(site.hub)

    async def decided() -> bool:
        recipes = (await frozen_rows.on_node(node))["recipe"]
        return ["r1", {"minutes": 11}] in recipes and not await frozen_rows.in_conflict(node)

    await eventually(decided, "the node has the decision")
    assert await frozen_rows.waiting(site.hub) == []


async def knows_itself_and_its_workloads(node: Node, facts: Facts) -> None:
    """Who it is, what it is to run, what has ended and stays so, and what was printed."""
    running = [each["name"] for each in facts["workloads"] if each["name"] not in facts["ended"]]
    await eventually(lambda: node.runs(*running), "the workloads start")
    status = await node.status()
    assert status is not None
    assert {"name": status.name, "id": status.id, "labels": status.labels} == facts["node"]
    ended = {each.workload: ending(each) for each in status.workloads if each.exit}
    assert {name: ended[name] for name in facts["ended"]} == facts["ended"]
    await eventually(lambda: printed_twice(node, facts["greeting"]), "the log goes on")


async def printed_twice(node: Node, line: str) -> bool:
    """Whether the camera's log has a line of this start and of the one before the freeze."""
    async with node_api(node.directory) as api:
        return "".join([text async for text in api.text("/v1/logs/camera")]).count(line) == 2


async def goes_on(site: Installation, node: Node, facts: Facts) -> None:
    """Wishes and values find their way, the hub sees everything run, and nobody has anything to complain about."""
    await site.hub.apply(sleeper("newcomer"))
    await eventually(lambda: node.runs("newcomer"), "a new wish arrives")
    await publish(node, Publish([PublishedRecord("new.value", 1)]))
    await eventually(lambda: site.hub.has("new.value", 1), "a new value arrives")
    total = len(facts["workloads"]) + 1
    await eventually(
        partial(sees, site, total, total - len(facts["ended"])), "the hub sees them run"
    )
    async with node_api(node.directory) as api:
        checks = (await api.get("/v1/doctor", Doctor)).checks
    assert [c.name for c in checks if c.outcome == "failed" and c.name != "disk space"] == []
    assert {c.name: c.outcome for c in checks}["damaged files"] == "ok"
    assert "Traceback" not in node.log.read_text() + site.hub.process.log.read_text()


async def all_sealed(node: Node) -> bool:
    async with node_api(node.directory) as api:
        keys = await api.get("/v1/keys", KeyStatus)
    return keys.enabled and not keys.plain


async def sees(site: Installation, workloads: int, running: int) -> bool:
    async with site.hub.api() as api:
        [node] = await api.get("/api/v1/nodes", list[NodeView])
        await api.get("/api/v1/workloads/camera/history", list[WorkloadVersion])
    return (node.workloads, node.running) == (workloads, running)
