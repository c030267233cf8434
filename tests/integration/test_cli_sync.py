"""`skerry sync` on a node with a limited link: what it shows, rounds on request, the log."""

import csv
import json

from tests.shell import Shell

from skerry.testing.waiting import eventually

LIMITS = ("--set", "sync.network.max_bandwidth=1MB", "--set", "sync.network.monthly_cap=5GB")


async def test_a_limited_node_syncs_on_request_and_says_what_it_did(shell: Shell) -> None:
    node = await shell.site.started(options=LIMITS)
    await eventually(lambda: node.link_is("online"), "the node is online")
    went = await shell.run("sync", "now")
    assert (went.code, went.err) == (0, "")
    assert went.lines[0].startswith("result    success after ")
    assert [line.split()[0] for line in went.lines[-4:]] == ["state", "event", "keep", "sample"]

    shown = await shell.run("sync", "status")
    limits = [line for line in shown.lines if line.startswith("network ")]
    assert limits[0] == "network   at most 1 MB a second"
    assert limits[1].startswith("network   0 % of the 5 GB of 20")
    lanes = list(csv.DictReader((await shell.run("sync", "status", "-o", "csv")).lines))
    assert int(lanes[0]["units"]) >= 1
    assert int(lanes[0]["plain_bytes"]) > int(lanes[0]["sent"]) > 0
    assert {lane["parked"] for lane in lanes} == {"false"}
    status = await node.sync()
    assert status.network is not None
    assert 1000 < status.network.used < 1_000_000
    assert status.pulls.rounds >= 1

    log = await shell.run("sync", "log", "-o", "json")
    assert "push" in {entry["operation"] for entry in json.loads(log.out)["entries"]}
    assert len((await shell.run("sync", "log", "--limit", "1")).lines) == 2
    doctor = (await shell.run("doctor", "-o", "json")).json
    [network] = [check for check in doctor["checks"] if check["name"] == "network"]  # type: ignore[index, call-overload]
    assert network["outcome"] == "ok"

    await shell.site.hub.kill()
    failed = await shell.run("sync", "now", "--timeout", "10")
    assert failed.code == 1
    assert failed.lines[0].startswith("result    failing after ")
    assert any(line.startswith("problem   cannot reach hub") for line in failed.lines)
