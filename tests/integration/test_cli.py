"""Every command against a real hub and a real node: what it prints, how it ends, who answers when one is away."""

import asyncio
import csv
import json
import signal
from pathlib import Path

import pytest
from tests.installation import Node, sleeper
from tests.shell import Shell

from skerry.testing.waiting import eventually
from skerry.wire.records import PublishedRecord
from skerry.wire.workload import Resources

pytestmark = pytest.mark.timeout(120)


async def publish(node: Node, *records: PublishedRecord, kind: str = "measurement") -> None:
    await asyncio.to_thread(node.publisher("w1").publish, kind, list(records), None)


SPEC = """\
kind: workload
name: w1
process: {command: [python, -c, "print('hello', flush=True); import signal; signal.pause()"]}
streams: {"t.*": keep}
"""


async def test_a_workload_from_the_file_to_its_end(shell: Shell) -> None:
    node = await shell.site.started()
    file = shell.home / "w1.yaml"
    file.write_text(SPEC)

    dry = await shell.run("apply", "-f", str(file), "--dry-run")
    assert (dry.code, dry.lines[1].split()) == (0, ["w1", "create", "n1"])
    assert dry.err == "skerry: nothing was changed (--dry-run)\n"
    assert (await shell.run("get", "workloads")).err.startswith("skerry: no workloads")
    new = await shell.run("diff", "-f", str(file))
    assert (new.lines[0], new.lines[-1]) == ("w1: create on n1", '  + streams."t.*": keep')
    assert new.lines[1].startswith("  + process.command: [python, -c, ")

    assert (await shell.run("apply", "-f", str(file))).code == 0
    assert (await shell.run("diff", "-f", str(file))).out == "no difference\n"
    await eventually(lambda: node.runs("w1"), "w1 runs")
    first = (await node.pids())["w1"]

    file.write_text(SPEC + "env: {A: '1'}\nstop: {grace: 2s}\n")
    changed = await shell.run("diff", "-f", str(file))
    assert changed.lines == [
        "w1: change on n1",
        "  + env.A: 1",
        "  - stop.grace: 10s",
        "  + stop.grace: 2s",
    ]
    piped = await shell.run("apply", "-f", "-", "-o", "json", stdin=file.read_text())
    assert piped.json["workloads"][0]["change"] == "change"  # type: ignore[index]

    async def runs_as_another_than(pid: int) -> bool:
        found = (await shell.run("get", "workloads", "w1", "-o", "json")).json
        status = found[0]["nodes"]["n1"].get("status")  # type: ignore[index]
        return bool(status) and status["phase"] == "running" and status["pid"] != pid

    await eventually(lambda: runs_as_another_than(first), "the change restarted it")
    second = (await node.pids())["w1"]
    restarted = await shell.run("restart", "workload", "w1", "-o", "json")
    assert (restarted.code, restarted.json) == (0, {"workload": "w1", "order": "restart"})
    await eventually(lambda: runs_as_another_than(second), "it was restarted")

    deleted = await shell.run("delete", "workload", "w1", "-o", "csv")
    assert (deleted.code, deleted.lines) == (0, ["workload,order", "w1,delete"])
    again = await shell.run("delete", "workload", "w1")
    assert again.code == 1
    assert again.err.startswith("skerry: cannot delete workload «w1»")


async def test_prune_deletes_what_no_file_names(shell: Shell) -> None:
    await shell.site.hub.apply(sleeper("old"))
    file = shell.home / "w1.yaml"
    file.write_text(SPEC)
    await shell.run("apply", "-f", str(file))
    kept = await shell.run("get", "workloads", "-o", "csv")
    assert [row["name"] for row in csv.DictReader(kept.lines)] == ["old", "w1"]
    pruned = await shell.run("apply", "-f", str(file), "--prune", "-o", "csv")
    assert {row["name"]: row["change"] for row in csv.DictReader(pruned.lines)} == {
        "w1": "unchanged",
        "old": "delete",
    }


async def test_bad_files_change_nothing(shell: Shell) -> None:
    good, bad = shell.home / "good.yaml", shell.home / "bad.yaml"
    good.write_text(SPEC)
    bad.write_text("kind: workload\nname: W\nprocess: {comand: [x]}\n")
    ended = await shell.run("apply", "-f", str(good), "-f", str(bad))
    assert ended.code == 2
    assert [line.removeprefix(f"skerry: {bad}:").split(":")[0] for line in ended.err.splitlines()] == ["2", "3", "3"]  # fmt: skip
    twice = await shell.run("apply", "-f", str(good), "-f", str(good))
    assert twice.code == 2
    assert "workload «w1» is already described" in twice.err
    dangling = shell.home / "dangling.yaml"
    dangling.write_text(SPEC + "depends_on: {nobody: running}\n")
    refused = await shell.run("apply", "-f", str(dangling))
    assert refused.code in {1, 2}
    assert "nobody" in refused.err
    assert (await shell.run("get", "workloads", "-o", "json")).json == []


async def test_records_from_the_hub_and_without_it(shell: Shell) -> None:
    node = await shell.site.started(sleeper("w1"))
    await publish(
        node,
        PublishedRecord("t.a", 1.5, 1_790_000_000_123_456_789, {"unit": "C"}),
        PublishedRecord("t.b", True, 1_790_000_001_000_000_000),
        PublishedRecord("u.c", 'text, with "quotes"', 1_790_000_002_000_000_000),
    )
    await publish(node, PublishedRecord("door.open", "now"), kind="event")
    await eventually(lambda: shell.site.hub.has("*", 4), "all at the hub")

    found = await shell.run("query", "t.*")
    assert [line.split() for line in found.lines] == [
        ["TIMESTAMP", "NAME", "VALUE", "META"],
        ["2026-09-21T14:13:20.123456789Z", "t.a", "1.5", "unit=C"],
        ["2026-09-21T14:13:21.000000000Z", "t.b", "true"],
    ]
    rows = list(csv.DictReader((await shell.run("query", "*.*", "-o", "csv")).lines))
    assert [row["value"] for row in rows if row["name"] == "u.c"] == ['text, with "quotes"']
    [row] = (await shell.run("query", "t.*", "--limit", "1", "-o", "json")).json  # type: ignore[misc]
    assert (row["name"], row["value"], row["node"], row["source"]) == ("t.b", True, "n1", "w1")
    since = await shell.run("query", "t.*", "--since", "2026-09-21T14:13:20.123456790Z")
    assert [line.split()[1] for line in since.lines] == ["NAME", "t.b"]
    assert (await shell.run("query", "t.*", "--since", "-10m")).err == "skerry: no records found\n"
    hint = (await shell.run("query", "t")).err
    assert hint == "skerry: no records found; «*» stands for any characters: 't*'\n"
    assert "door.open" in (await shell.run("get", "events")).out
    assert (await shell.run("query", "t.*", "--node", "n2")).out == ""

    await shell.site.hub.kill()
    away = await shell.run("query", "t.*", "-o", "json")
    assert away.code == 0
    assert [row["name"] for row in away.json] == ["t.a", "t.b"]  # type: ignore[attr-defined]
    assert away.err == (
        f"skerry: cannot reach the hub at {shell.site.hub.url} (connection refused): "
        f"this is only what the node in {shell.node_dir} knows\n"
    )
    other = await shell.run("query", "t.*", "--node", "n2")
    assert other.code == 1
    assert "cannot query node «n2»" in other.err


async def test_a_node_as_its_hub_and_as_it_sees_itself(shell: Shell) -> None:
    node = await shell.site.started(sleeper("w1"))
    await eventually(lambda: node.link_is("online"), "the link is up")
    table = await shell.run("get", "nodes")
    assert table.lines[0].split() == ["NAME", "STATE", "SEEN", "RUNNING", "VERSION", "LABELS"]
    assert table.lines[1].split()[:2] == ["n1", "online"]
    status = await shell.run("node", "status")
    assert status.lines[0].startswith("node      n1, skerry ")
    assert status.lines[2].startswith("hub       online for ")
    await eventually(lambda: _syncs(node), "it has synced")
    assert (await shell.run("sync", "status")).lines[0] == "result    success"
    lanes = list(csv.DictReader((await shell.run("sync", "status", "-o", "csv")).lines))
    assert all(int(lane["on_disk"]) >= 0 for lane in lanes)
    doctor = await shell.run("doctor", "-o", "json")
    assert doctor.code == 0
    assert "container engine" in {check["name"] for check in doctor.json["checks"]}  # type: ignore[index]
    assert {check["outcome"] for check in doctor.json["checks"]} <= {"ok", "skipped", "warning"}  # type: ignore[index]
    wrong = await shell.run("get", "nodes", "n2")
    assert (wrong.code, wrong.err) == (1, "skerry: cannot find node «n2»: known are: n1\n")

    await shell.site.hub.kill()
    await eventually(lambda: _is_refused(node), "the node knows")
    offline = await shell.run("node", "status")
    assert offline.lines[2].startswith("hub       offline for ")
    assert "connection refused" in offline.lines[2]
    fallen_back = await shell.run("get", "workloads", "-o", "csv")
    assert next(csv.DictReader(fallen_back.lines))["phase"] == "running"
    assert "this is only what the node" in fallen_back.err
    alone = await shell.run("get", "nodes", "-o", "csv")
    assert [(row["name"], row["state"], row["seen"]) for row in csv.DictReader(alone.lines)] == [("n1", "up", "")]  # fmt: skip
    refused = await shell.run("apply", "-f", "-", stdin=SPEC)
    assert refused.code == 1
    assert refused.err.startswith("skerry: cannot reach the hub at ")

    await node.kill()
    gone = await shell.run("doctor")
    assert gone.code == 1
    assert gone.lines[1].startswith("node   failed")
    neither = await shell.run("get", "workloads")
    assert neither.code == 1
    assert "or the node in" in neither.err.splitlines()[-1]


async def _syncs(node: Node) -> bool:
    return (await node.sync()).result == "success"


async def _is_refused(node: Node) -> bool:
    status = await node.status()
    return (
        status is not None
        and status.link.state == "offline"
        and "connection refused" in status.link.cause
    )


async def test_node_status_from_the_hub_when_the_node_is_down(shell: Shell) -> None:
    node = await shell.site.started()
    await node.process.end()
    (shell.node_dir / "node.yaml").write_text("name: n1\n")
    status = await shell.run("node", "status", "-o", "csv")
    assert status.code == 0
    assert next(csv.DictReader(status.lines))["name"] == "n1"
    assert "this is only what the hub at" in status.err


async def test_enrol_and_stop(shell: Shell) -> None:
    token = await shell.run("token", "create", "--ttl", "10m")
    assert token.code == 0
    login = await shell.run("hub", "login", "-o", "json")
    assert login.json["url"].startswith(f"{shell.site.hub.url}/login?code=")  # type: ignore[index]
    data_dir = shell.home / "n2"
    words = ("node", "enroll", "--hub", shell.site.hub.nodes_url, "--data-dir", str(data_dir))
    named = (*words, "--name", "n2", "--label", "site=lab")
    enrolled = await shell.run(*named, stdin=token.out)
    assert enrolled.lines[0] == f"this is now node «n2» of the hub at {shell.site.hub.nodes_url}"
    assert (await shell.run("get", "nodes", "-o", "json")).json[0]["labels"] == {"site": "lab"}  # type: ignore[index]
    twice = await shell.run(*named, stdin=token.out)
    assert twice.code == 1
    assert "already" in twice.err
    file = shell.home / "token"
    file.write_text(token.out)
    used = await shell.run(
        "node", "enroll", "--hub", shell.site.hub.nodes_url, "--data-dir", str(shell.home / "n3"), "--token-file", str(file)
    )  # fmt: skip
    assert used.code == 1
    assert "used" in used.err
    running = shell.site.node("n1")  # in a directory of its own, by the command line's own words
    await running.enrol(shell.site.hub)
    await shell.site.hub.apply(sleeper("w1", resources=Resources(pids=50)))
    process = await shell.start(
        "node", "run", "--data-dir", str(shell.node_dir), "--set", "api.port=0"
    )
    await eventually(lambda: running.runs("w1"), "w1 runs")
    pids = running.processes()
    groups = f"*/skerry/{json.loads((shell.node_dir / 'containers.json').read_text())['mark']}"
    assert [*Path("/sys/fs/cgroup").glob(groups)]
    stopped = await shell.run("node", "stop", "--workloads")
    assert stopped.out == "the node has ended, with its workloads\n"
    assert await process.wait() == 0
    await eventually(lambda: not set(pids) & set(running.processes()), "nothing is left")
    await eventually(lambda: not [*Path("/sys/fs/cgroup").glob(groups)], "nor a group")
    again = await shell.run("node", "stop")
    assert again.code == 1
    assert "skerry node run" in again.err


@pytest.mark.guarantee("G5")
async def test_a_frozen_hub_costs_seconds_and_its_answer_is_not_made_up(shell: Shell) -> None:
    node = await shell.site.started(sleeper("w1"))
    await eventually(lambda: node.runs("w1"), "w1 runs")
    assert shell.site.hub.process.process is not None
    shell.site.hub.process.process.send_signal(signal.SIGSTOP)
    try:
        away = await shell.run("get", "nodes")
        assert away.code == 0
        assert away.err == (
            f"skerry: cannot reach the hub at {shell.site.hub.url} (no answer within 5 s): "
            f"this is only what the node in {shell.node_dir} knows\n"
        )
        assert away.lines[1].split()[:3] == ["n1", "up,", "link"]
        elsewhere = await shell.run("get", "nodes", "--data-dir", str(shell.home / "none"))
        assert elsewhere.code == 1
        assert "no answer within 5 s" in elsewhere.err
    finally:
        shell.site.hub.process.process.send_signal(signal.SIGCONT)


async def test_ctrl_c_ends_a_wait_at_once(shell: Shell) -> None:
    connected = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    hub = ("--hub", f"http://127.0.0.1:{port}", "--token-file", str(shell.site.hub.directory / "admin.token"))  # fmt: skip
    async with server:
        for words in (("get", "nodes"), ("restart", "workload", "w1"), ("query", "x")):
            connected.clear()
            waiting = await shell.start(*words, *hub)
            await connected.wait()
            waiting.send_signal(signal.SIGINT)
            out, err = await waiting.communicate()
            assert (waiting.returncode, out, err) == (130, b"", b"")


async def test_a_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    process = await shell.start("config", "explain", "data_dir")
    assert process.stdout is not None
    process.stdout._transport.close()  # type: ignore[attr-defined]
    _, errors = await process.communicate()
    assert b"Traceback" not in errors
    assert b"Exception" not in errors
