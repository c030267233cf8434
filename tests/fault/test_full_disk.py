"""The disk of a node or of the hub is full to the last block: nothing accepted is lost, and what can go on does.

A node keeps room for its own state inside node.db and its WAL (`kit.sqlite`), so on a disk without a free
block workloads are still restarted, statuses written and agents started.
"""

import signal
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from tests.command_line import CommandLine
from tests.full_disk import Feeder, check_each_once
from tests.installation import Installation, Node, installation, sleeper
from tests.small_disk import fill, free_bytes, small_disk

from skerry.cli.http import node_api
from skerry.kit.errors import Transient
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.waiting import eventually
from skerry.wire.local import Doctor
from skerry.wire.people import LoginCode, NodeView, TokenReply, TokenRequest
from skerry.wire.workload import ProcessSpec, Restart, WorkloadSpec

pytestmark = pytest.mark.timeout(120)

LOOP = "LINE=$(printf %01000d 0); while :; do echo $LINE; sleep 0.02; done"
CHATTER = WorkloadSpec(name="chatter", process=ProcessSpec(command=["/bin/sh", "-c", LOOP]))
FLAPPING = WorkloadSpec(
    name="flapping",
    process=ProcessSpec(command=["/bin/sh", "-c", "sleep 0.1; exit 1"]),
    restart=Restart(delay=0.05, max_delay=0.1, attempts=1000, window=1.0),
)


ON = ["--set", "encryption.storage.enabled=true"]


async def restarts(node: Node) -> int:
    status = await node.status()
    assert status is not None
    return next(each.restarts for each in status.workloads if each.workload == "flapping")


async def restarts_again(node: Node) -> None:
    """The flapping workload dies and is started once more."""
    before = await restarts(node)
    await eventually(partial(_above, node, before + 1), "the flapping workload is restarted")


async def _above(node: Node, count: int) -> bool:
    return await restarts(node) > count


@pytest.mark.guarantee("G1")
async def test_a_node_on_a_full_disk(tidy_dir: Path) -> None:
    with small_disk(tidy_dir / "n1", 24):
        async with (
            installation(tidy_dir) as site,
            ChaosProxy("127.0.0.1", site.hub.nodes_port) as proxy,
        ):
            url = f"https://127.0.0.1:{proxy.port}"
            specs = (sleeper("feeder"), sleeper("steady"), CHATTER, FLAPPING)
            node = await site.started(*specs, url=url)
            await eventually(lambda: node.link_is("online"), "the node is online")
            proxy.refuse()
            proxy.reset_all()
            feeder = Feeder(node)
            cause = await feeder.until_refused()
            assert cause.startswith(
                f"cannot accept records of «feeder»: the disk of {node.directory}"
            )
            assert "2.36 MB are free there, or connect the hub" in cause
            fill(node.directory)
            logged = len(node.log.read_bytes())
            pids = await node.pids()
            await restarts_again(node)
            assert await feeder.works() is False
            assert await node.runs("feeder", "steady", "chatter")
            async with node_api(node.directory) as api:
                checks = {each.name: each for each in (await api.get("/v1/doctor", Doctor)).checks}
            assert (checks["disk space"].outcome, checks["disk space"].detail) == (
                "failed",
                "0 B free",
            )
            assert checks["store"].outcome == "ok"

            proxy.heal()  # and the disk stays full: what the hub has taken makes room
            await check_each_once(site, node, feeder.accepted)
            await eventually(feeder.works, "publishing works again")
            await check_each_once(site, node, feeder.accepted)
            await eventually(lambda: dropped_lines(node) > 0, "the log says what is missing")
            assert len(node.log.read_bytes()) - logged < 3_000, "a full disk does not flood the log"
            same = {name: pid for name, pid in (await node.pids()).items() if name != "flapping"}
            assert same.items() <= pids.items()


async def test_on_a_full_disk_workloads_come_go_and_end_with_their_reason(tidy_dir: Path) -> None:
    with small_disk(tidy_dir / "n1", 24):
        async with installation(tidy_dir) as site:
            node = site.node()
            node.options += ["--set", "runtime.storage_check_interval=1s"]
            await node.enrol(site.hub)
            await site.hub.apply(sleeper("steady"), sleeper("leaving"))
            await node.start()
            await node.ready()
            await eventually(lambda: node.runs("steady", "leaving"), "they run")
            reserve = node.directory / "records" / "reserve"
            await eventually(reserve.exists, "the reserve is there")
            stale = node.directory / "tmp" / "stale"
            stale.parent.mkdir()
            stale.write_bytes(bytes(1_000_000))
            fill(node.directory)
            await eventually(lambda: not stale.exists(), "what may go goes")
            fill(node.directory)
            await eventually(lambda: not reserve.exists(), "the reserve is given up")
            hog = fill(node.directory)
            failing = ProcessSpec(command=["/bin/sh", "-c", "exit 3"])
            once = WorkloadSpec(name="once", process=failing, restart=Restart(policy="never"))
            await site.hub.apply(sleeper("steady"), sleeper("new"), once, prune=True)
            await eventually(lambda: node.runs("steady", "new"), "the new one runs")
            await eventually(partial(_has_failed, node, "once", 3), "its exit is known")
            await eventually(partial(_is_gone, node, "leaving"), "the other one is gone")
            await node.kill()
            await node.start()
            await node.ready()
            assert await _has_failed(node, "once", 3)
            assert free_bytes(node.directory) == 0
            hog.unlink()
            await eventually(reserve.exists, "the reserve is there again", 40)


async def _has_failed(node: Node, workload: str, code: int) -> bool:
    status = await node.status()
    assert status is not None
    ended = {each.workload: each for each in status.workloads if each.phase == "failed"}
    found = ended.get(workload)
    return found is not None and found.exit is not None and found.exit.code == code


async def _is_gone(node: Node, workload: str) -> bool:
    status = await node.status()
    return status is not None and workload not in {each.workload for each in status.workloads}


@pytest.mark.guarantee("G1")
async def test_samples_make_room_on_a_full_disk_and_the_rest_arrives(tidy_dir: Path) -> None:
    with small_disk(tidy_dir / "n1", 32):
        async with (
            installation(tidy_dir) as site,
            ChaosProxy("127.0.0.1", site.hub.nodes_port) as proxy,
        ):
            spec = sleeper("feeder", streams={"s.*": "sample"})
            node = await site.started(spec, url=f"https://127.0.0.1:{proxy.port}")
            await eventually(lambda: node.link_is("online"), "the node is online")
            kept, samples = Feeder(node), Feeder(node, "s.value")
            await kept.publish(50)
            await samples.publish(50)
            await check_each_once(site, node, kept.accepted)
            proxy.refuse()
            proxy.reset_all()
            for _ in range(100):  # 40 MB
                await samples.publish(50)
            await kept.until_refused()
            await samples.publish(50)
            proxy.heal()
            await check_each_once(site, node, kept.accepted)
            gaps = [row for row in await site.hub.rows("sample") if row.kind == "gap"]
            gone = sum(int(row.value) for row in gaps)
            assert {row.meta["cause"] for row in gaps} == {"disk full"}
            arrived = [row.value for row in await site.hub.rows("s.value")]
            left = range(50 + gone, samples.accepted)
            assert arrived == [*range(50), *left]
            assert gone > 2000
            await samples.publish(1)
            await eventually(partial(site.hub.has, "s.value", len(arrived) + 1), "sync goes on")


def dropped_lines(node: Node) -> int:
    """How many lines of the chatter's output its log says are missing."""
    lines = (node.directory / "logs" / "chatter" / "current.log").read_text().splitlines()
    return sum(int(line.split()[4]) for line in lines if "lines dropped here: No space" in line)


@pytest.mark.guarantee("G2")
@pytest.mark.parametrize(
    ("end", "sealed"),
    [(signal.SIGTERM, False), (signal.SIGKILL, False), (signal.SIGKILL, True)],
    ids=["stopped", "killed", "killed-sealed"],
)
async def test_a_node_starts_on_a_full_disk_without_its_hub(
    tidy_dir: Path, end: signal.Signals, *, sealed: bool
) -> None:
    with small_disk(tidy_dir / "n1", 24):
        async with installation(tidy_dir) as site:
            specs = (sleeper("feeder"), sleeper("steady"), CHATTER, FLAPPING)
            node = await site.started(*specs, options=ON if sealed else [])
            await site.hub.kill()
            feeder = Feeder(node)
            await feeder.until_refused()
            hog = fill(node.directory)
            await node.process.end(end)
            fill(node.directory)  # what the agent gave back is taken by somebody else
            await node.start()
            await node.ready()
            await eventually(lambda: node.runs("feeder", "steady", "chatter"), "workloads go on")
            await node.process.end(end)
            node.clean()  # a reboot: keeper and workloads are gone, too
            fill(node.directory)
            logged = len(node.log.read_bytes())
            await node.start()
            await node.ready()
            await eventually(lambda: node.runs("feeder", "steady", "chatter"), "workloads start")
            await restarts_again(node)
            assert free_bytes(node.directory) == 0
            assert "Traceback" not in node.log.read_bytes()[logged:].decode()
            assert len(node.log.read_bytes()) - logged < 3_000
            hog.unlink()
            await site.hub.start()
            await check_each_once(site, node, feeder.accepted)


@pytest.mark.guarantee("G1")
@pytest.mark.guarantee("G5")
async def test_a_hub_on_a_full_disk(tidy_dir: Path) -> None:
    with small_disk(tidy_dir / "hub", 16):
        async with installation(tidy_dir) as site:
            node = await site.started(sleeper("feeder"), sleeper("steady"))
            feeder = Feeder(node)
            await feeder.publish(10)
            await check_each_once(site, node, 10)
            cookies = await signed_in(site)
            hog = fill(site.hub.directory)
            logged = len(node.log.read_bytes()) + len(site.hub.process.log.read_bytes())
            for _ in range(40):
                await feeder.publish(100)
            await eventually(partial(blames_the_disk, node), "the node says why nothing is taken")
            with pytest.raises(
                Transient, match=r"cannot write .*/hub\.db: the disk is full\. Free"
            ):
                await site.hub.apply(sleeper("new"))
            assert await node.runs("feeder", "steady")
            shell = CommandLine(site)
            assert "hub.db: the disk is full" in (await shell.run("sync", "status")).out
            told = await shell.run("hub", "storage")
            assert "the hub's disk is full: nodes keep what the hub cannot take" in told.out
            assert "the hub&#39;s disk is full" in await page_of(site, cookies)
            assert await site.hub.process.end(signal.SIGTERM) == 0
            fill(site.hub.directory)
            await site.hub.start()
            await feeder.publish(100)
            grown = len(node.log.read_bytes()) + len(site.hub.process.log.read_bytes()) - logged
            assert grown < 6_000, "a full disk does not flood the logs"
            hog.unlink()
            await check_each_once(site, node, feeder.accepted)
            await eventually(partial(succeeds, node), "all is well again")
            assert "disk is full" not in await page_of(site, cookies)


async def signed_in(site: Installation) -> dict[str, str]:
    """A browser's cookies."""
    async with site.hub.api() as api:
        code = await api.send("POST", "/api/v1/login-codes", None, LoginCode)
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(site.hub.url + code.path, allow_redirects=False) as answer,
    ):
        return {name: morsel.value for name, morsel in answer.cookies.items()}


async def page_of(site: Installation, cookies: dict[str, str]) -> str:
    """The page as a browser gets it."""
    async with (
        aiohttp.ClientSession(
            headers={"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
        ) as browser,
        browser.get(site.hub.url) as page,
    ):
        assert page.status == 200
        return await page.text()


async def blames_the_disk(node: Node) -> bool:
    status = await node.sync()
    problems = " ".join(lane.problem for lane in status.lanes)
    return status.result == "failing" and "answered 503: cannot write" in problems


async def succeeds(node: Node) -> bool:
    return (await node.sync()).result == "success"


async def test_a_new_node_on_a_full_disk(tidy_dir: Path) -> None:
    with small_disk(tidy_dir / "n1", 16):
        async with installation(tidy_dir) as site:
            hog = fill(tidy_dir / "n1")
            shell = CommandLine(site)
            async with site.hub.api() as api:
                token = await api.send("POST", "/api/v1/tokens", TokenRequest(), TokenReply)
            words = (
                "--hub",
                site.hub.nodes_url,
                "--data-dir",
                str(tidy_dir / "n1"),
                "--name",
                "n1",
            )
            full = await shell.run("node", "enroll", *words, stdin=token.token.encode())
            assert full.code == 1
            assert "who does this: No space left on device. Make room, and try again" in full.err
            started = await shell.run("node", "run", "--data-dir", str(tidy_dir / "n1"))
            assert started.code == 1
            assert "node.db: the disk is full. Free space there." in started.err
            hog.unlink()
            enrolled = await shell.run("node", "enroll", *words, stdin=token.token.encode())
            assert enrolled.code == 0, enrolled.err
            async with site.hub.api() as api:
                assert [n.name for n in await api.get("/api/v1/nodes", list[NodeView])] == ["n1"]
