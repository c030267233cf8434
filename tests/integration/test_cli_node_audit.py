"""`skerry audit … --here`: a node's own log, with and without its agent, and what a kill leaves in it."""

from __future__ import annotations

import getpass
import signal
from pathlib import Path

import pytest
from tests.audit_rig import log_in, tampered
from tests.shell import Shell

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.mark.guarantee("G9")
async def test_who_did_what_at_the_device_is_listed_and_proved(shell: Shell) -> None:
    node = shell.site.node()
    token = shell.home / "token"
    token.write_text((await shell.run("token", "create")).out)
    enrolled = await shell.run(
        "node", "enroll", "--hub", shell.site.hub.url, "--token-file", str(token), "--name", "n1",
        "--data-dir", str(shell.node_dir),
    )  # fmt: skip
    assert enrolled.code == 0, enrolled.err
    missing = await shell.run("audit", "list", "--here")
    assert (missing.code, "Has the node ever been started?" in missing.err) == (2, True)
    await node.start()
    await node.ready()
    assert (await shell.run("node", "unlock", "cam")).code == 1
    assert (await shell.run("node", "status")).code == 0
    assert (await shell.run("node", "stop")).code == 0
    listed = await shell.run("audit", "list", "--here")
    assert listed.code == 0, listed.err
    assert "unlock_updates" in listed.out
    everything = (await shell.run("audit", "list", "--here", "-o", "json")).json
    assert isinstance(everything, list)
    entries = [each["entry"] for each in everything]
    assert [(each["action"], each["outcome"]) for each in entries] == [
        ("enrol_node", "begun"),
        ("enrol_node", "done"),
        ("agent_start", "done"),
        ("unlock_updates", "begun"),
        ("unlock_updates", "refused"),
        ("stop_node", "begun"),
        ("stop_node", "done"),
        ("agent_stop", "done"),
    ]
    assert {each["actor"] for each in entries} == {getpass.getuser(), "skerry"}
    assert "as «n1»" in entries[1]["detail"]
    assert token.read_text().strip() not in str(everything)
    verified = await shell.run("audit", "verify", "--here")
    assert (verified.code, "8 entries" in verified.out) == (0, True)
    both = await shell.run("audit", "verify", "--here", "--node", "n1")
    assert "leave out --node or --here" in both.err
    database = shell.node_dir / "node.db"
    tampered(database, "UPDATE audit SET actor = 'bob' WHERE seq = 4")
    changed = await shell.run("audit", "verify", "--here")
    assert (changed.code, "(changed, entry 4)" in changed.err) == (1, True)
    tampered(database, "DELETE FROM audit WHERE seq >= 4")
    cut = await shell.run("audit", "verify", "--here")
    assert "the last 5 are gone (truncated, entry 4)" in cut.err


async def test_an_agent_that_was_killed_has_not_said_that_it_ends(shell: Shell) -> None:
    node = shell.site.node()
    await node.start(fault=("audit.after-commit", 2))
    await node.ready()
    asked = await shell.run("node", "unlock", "cam")
    assert asked.code != 0
    assert node.process.process is not None
    assert await node.process.process.wait() == -signal.SIGKILL
    await node.start()
    await node.ready()

    def again() -> bool:
        return len(log_in(database).entries) == 3

    database: Path = shell.node_dir / "node.db"
    await eventually(again, "the agent has begun again")
    start, begun, after = [row.entry for row in log_in(database).entries]
    assert (start.action, begun.action, begun.outcome) == ("agent_start", "unlock_updates", "begun")
    assert after.detail.endswith("the one before ended without saying so")
    listed = await shell.run("audit", "list", "--here")
    assert [line for line in listed.lines if "unlock_updates" in line and "begun" in line]


@pytest.mark.guarantee("G9")
async def test_hub_and_node_are_each_others_witness(shell: Shell) -> None:
    node = await shell.site.started()

    async def is_told() -> bool:
        ended = await shell.run("audit", "list", "--node", "n1")
        return "agent_start" in ended.out

    await eventually(is_told, "the hub has the node's log")
    verified = await shell.run("audit", "verify", "--node", "n1")
    assert verified.code == 0, verified.err
    assert "the audit log of node «n1» at" in verified.out
    assert (await shell.run("audit", "verify")).code == 0
    assert (await shell.run("node", "unlock", "cam")).code == 1
    assert (await shell.run("node", "stop")).code == 0
    await node.start()

    async def keeps_a_head() -> bool:
        ended = await shell.run("audit", "list", "--node", "n1")
        return ended.out.count("agent_start") == 2

    await eventually(keeps_a_head, "the hub has what the node did while it was not asked")
    hub_db, head = shell.site.hub.directory / "hub.db", shell.home / "fresh.json"
    await node.kill()
    tampered(hub_db, "DELETE FROM audit")
    assert (await shell.run("audit", "list", "--hub", shell.site.hub.url)).code == 0
    lost = await shell.run("audit", "verify", "--head", str(head))
    assert (lost.code, "node «n1» keeps a head of it" in lost.err) == (1, True)
    tampered(shell.node_dir / "node.db", "DELETE FROM audit WHERE seq > 2")
    await node.start()

    async def is_found() -> bool:
        ended = await shell.run("get", "nodes", "-o", "json")
        return "its audit log contradicts" in ended.out

    await eventually(is_found, "the hub says that the node's log has lost its end")
    cut = await shell.run(
        "audit", "verify", "--node", "n1", "--head", str(shell.home / "other.json")
    )
    assert (cut.code, "it contradicted what was kept of it: " in cut.err) == (
        1,
        True,
    )
    assert (await shell.run("audit", "verify", "--node", "n1", "--anew")).code == 0
    assert "contradicts" not in (await shell.run("get", "nodes", "-o", "json")).out
