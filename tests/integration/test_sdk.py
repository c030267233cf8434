"""The SDK against the node's real local API on a UNIX socket."""

import asyncio
import gc
import os
import re
import socket as sockets
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local_node import local_node
from tests.record_rig import held, submission
from tests.sdk_client import make_client

from skerry import sdk
from skerry.node.store.record_jobs import Limits
from skerry.sdk import (
    InvalidInput,
    Measurement,
    Refused,
    Row,
    SkerryError,
    StorageFull,
    Transient,
)
from skerry.testing.waiting import eventually
from skerry.wire.local import HoldUpdates, ReleaseUpdates


@pytest.fixture
def path(short_dir: Path) -> Path:
    (short_dir / "w").mkdir()
    return short_dir / "w" / "sock"


async def test_a_value_is_durable_when_publish_returns(short_dir: Path, path: Path) -> None:
    async with local_node(short_dir, path) as store:
        client = make_client(path)
        before = time.time_ns()
        await asyncio.to_thread(
            client.publish, "measurement", [Measurement("env.x", 21.5, meta={"unit": "C"})], None
        )
        assert store.head("keep").n == 1
        rows = await asyncio.to_thread(client.query, "env.*", None, 60.0, 10, None)
        [row] = rows
        assert (row.name, row.value, row.meta, row.source) == ("env.x", 21.5, {"unit": "C"}, "w")
        assert before <= row.at <= time.time_ns()
    async with local_node(short_dir, path) as store:
        assert store.head("keep").n == 1


async def test_many_values_are_one_group_and_events_have_their_lane(
    short_dir: Path, path: Path
) -> None:
    async with local_node(short_dir, path, streams={"fast.*": "sample"}) as store:
        client = make_client(path)
        groups = store.counters.groups
        entries = [("a", 1), ("fast.b", True), Measurement("c", "text", at=5)]
        await asyncio.to_thread(client.publish, "measurement", entries, None)
        assert store.counters.groups == groups + 1
        await asyncio.to_thread(client.publish, "event", [("disk.full", "now")], None)
        assert [value for _, _, value in held(store, "keep")] == [1, "text"]
        assert [value for _, _, value in held(store, "sample")] == [True]
        assert [value for _, _, value in held(store, "event")] == ["now"]
        assert [counter for _, counter, _ in held(store, "keep")] == [1, 3]


async def test_more_than_one_request_can_carry_is_cut(short_dir: Path, path: Path) -> None:
    async with local_node(short_dir, path) as store:
        client = make_client(path)
        await asyncio.to_thread(
            client.publish, "measurement", [("n", n) for n in range(25_000)], None
        )
        await asyncio.to_thread(client.publish, "measurement", [("t", "x" * 60_000)] * 400, None)
        assert store.head("keep").n == 25_400
        assert [counter for _, counter, _ in held(store)] == list(range(1, 25_401))


class SubFloat(float):
    """As numpy.float64 is one."""


async def test_values_are_checked_before_and_behind_the_socket(short_dir: Path, path: Path) -> None:
    async with local_node(short_dir, path) as store:
        client = make_client(path)

        def publish(name: str, value: Any, **others: Any) -> None:
            client.publish("measurement", [Measurement(name, value, **others)], 5)

        await asyncio.to_thread(publish, "a", SubFloat(1.5))
        for wrong, rule in (
            (("a", float("nan")), "nan is no value"),
            (("a", [1]), "not list"),
            (("a", "\ud800"), "no valid Unicode"),
            (("a b", 1), "matching regex"),
            (("a", 2**63), "64-bit integer"),
            (("a", "x" * 65_537), "at most 65536"),
        ):
            with pytest.raises(InvalidInput) as caught:
                await asyncio.to_thread(publish, *wrong)
            assert rule in str(caught.value)
        await asyncio.to_thread(publish, "a", 2)
        assert [value for _, _, value in held(store)] == [1.5, 2]


async def test_a_full_node_is_a_clear_error(short_dir: Path, path: Path) -> None:
    async with local_node(short_dir, path, limits=Limits(keep=3000, reserve=4096)):
        client = make_client(path)
        with pytest.raises(StorageFull, match=r"raise records\.keep_limit"):
            await asyncio.to_thread(client.publish, "measurement", [("a", "x" * 4000)], None)


@pytest.mark.guarantee("G1")
async def test_publishing_waits_out_an_absent_node_and_nothing_comes_twice(
    short_dir: Path, path: Path
) -> None:
    client = make_client(path)
    accepted: list[int] = []

    def work() -> None:
        for n in range(200):
            client.publish("measurement", [("n", n)], None)
            accepted.append(n)

    working = asyncio.create_task(asyncio.to_thread(work))
    for stop_at in (50, 100, 150, 200):
        async with local_node(short_dir, path) as store:
            await eventually(lambda: len(accepted) >= stop_at, f"{stop_at} values")  # noqa: B023
        seen = [value for _, _, value in held(store)]
        assert seen == list(range(len(seen)))
    await working
    async with local_node(short_dir, path) as store:
        assert [value for _, _, value in held(store)] == list(range(200))
        assert len({session for session, _, _ in held(store)}) == 1


async def test_a_timeout_ends_the_waiting(path: Path) -> None:
    client = make_client(path)
    with pytest.raises(Transient, match="no answer from the node"):
        await asyncio.to_thread(client.publish, "measurement", [("a", 1)], 0.05)


@pytest.mark.guarantee("G1")
async def test_a_lost_answer_is_asked_for_again_and_the_record_is_one(
    short_dir: Path, path: Path
) -> None:
    """A proxy swallows the answers of the first three tries."""
    behind = short_dir / "behind" / "sock"
    tries = 0

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        lost = tries <= 3
        upstream, downstream = await asyncio.open_unix_connection(str(behind))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        downstream.write(head + await reader.readexactly(int(length[1])))
        answer = await upstream.read(65536)
        if not lost:
            writer.write(answer)
            await writer.drain()
        writer.close()
        downstream.close()

    async with local_node(short_dir, behind) as store:
        proxy = await asyncio.start_unix_server(swallow, str(path))
        await asyncio.to_thread(make_client(path).publish, "measurement", [("a", 1)], 20)
        proxy.close()
        await proxy.wait_closed()
        assert tries == 4
        assert len(held(store)) == 1
        assert store.counters.repeated == 3


async def test_threads_may_share_the_client(short_dir: Path, path: Path) -> None:
    async with local_node(short_dir, path) as store:
        client = make_client(path)

        def work(thread: int) -> None:
            for n in range(25):
                client.publish("measurement", [(f"t{thread}", n)], None)

        await asyncio.gather(*(asyncio.to_thread(work, thread) for thread in range(8)))
        assert [counter for _, counter, _ in held(store)] == list(range(1, 201))


async def test_a_subscription_goes_on_behind_the_last_row_after_restarts(
    short_dir: Path, path: Path
) -> None:
    client = make_client(path)
    seen: list[Row] = []
    enough = threading.Event()

    def follow() -> None:
        for row in client.subscribe("env.*", "measurement", "now"):
            seen.append(row)
            if row.value == "end":
                enough.set()
                return

    subscribed: list[str] = []
    async with local_node(short_dir, path, subscribed=subscribed) as store:
        await store.append(submission(1, "before"))
        following = asyncio.create_task(asyncio.to_thread(follow))
        await eventually(lambda: subscribed == ["env.*"], "the subscription stands")
        await store.append(submission(2, "a"))
        await eventually(lambda: len(seen) == 1, "the first row")
    for n in (3, 4):
        async with local_node(short_dir, path) as store:
            await store.append(submission(n, f"while away {n}"))
            await eventually(lambda: len(seen) == n - 1, "rows go on")  # noqa: B023
    async with local_node(short_dir, path) as store:
        await store.append(submission(5, "end"))
        await asyncio.wait_for(following, 30)
    assert [row.value for row in seen] == ["a", "while away 3", "while away 4", "end"]


async def test_a_subscription_cut_off_before_its_first_row_misses_nothing(
    short_dir: Path, path: Path
) -> None:
    client = make_client(path)
    subscribed: list[str] = []
    async with local_node(short_dir, path, subscribed=subscribed):
        first = asyncio.create_task(
            asyncio.to_thread(lambda: next(client.subscribe("*", None, "now")))
        )
        await eventually(lambda: subscribed == ["*"], "the subscription stands")
    async with local_node(short_dir, short_dir / "other" / "sock") as store:
        await store.append(submission(1, "nobody listens now"))
    async with local_node(short_dir, path):
        assert (await asyncio.wait_for(first, 30)).value == "nobody listens now"


async def test_a_wrong_subscription_ends_with_an_error(short_dir: Path, path: Path) -> None:
    async with local_node(short_dir, path):
        client = make_client(path)
        for kind, cursor in (("evnt", "now"), (None, "not a cursor")):
            rows = client.subscribe("*", kind, cursor)
            with pytest.raises(InvalidInput):
                await asyncio.to_thread(next, rows)


async def test_updates_are_held_and_released(
    short_dir: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, HoldUpdates | ReleaseUpdates]] = []
    monkeypatch.setenv("SKERRY_SOCKET", str(path))
    monkeypatch.setenv("SKERRY_INSTANCE", "i1")

    def work() -> None:
        with sdk.busy("landing", at_most=300):
            heard.append(("w", HoldUpdates(0.0)))
            raise ZeroDivisionError

    async with local_node(short_dir, path, held=heard):
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(work)
        assert await asyncio.to_thread(sdk.hold_updates, 5.0) == 5
        for seconds in (0.0, -1.0, 90_000.0):
            with pytest.raises(InvalidInput, match="write a time up to 86400 s"):
                await asyncio.to_thread(sdk.hold_updates, seconds)
        with pytest.raises(InvalidInput, match="more than 200 characters"):
            await asyncio.to_thread(sdk.hold_updates, 5.0, "x" * 201)
    sdk._client.cache_clear()
    assert heard == [
        ("w", HoldUpdates(300.0, "landing", "i1")),
        ("w", HoldUpdates(0.0)),
        ("w", ReleaseUpdates("i1")),
        ("w", HoldUpdates(5.0, "", "i1")),
    ]


async def test_a_forked_child_is_another_publisher(short_dir: Path, path: Path) -> None:
    script = (
        "import os\n"
        "from skerry import sdk\n"
        "sdk.publish('who', 'parent')\n"
        "pid = os.fork()\n"
        "sdk.publish('who', 'child' if pid == 0 else 'parent again')\n"
        "if pid == 0: os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    async with local_node(short_dir, path) as store:
        await _run(script, SKERRY_SOCKET=str(path))
        found = held(store)
    assert {value for _, _, value in found} == {"parent", "child", "parent again"}
    sessions = {value: name for name, _, value in found}
    assert sessions["parent"] == sessions["parent again"] != sessions["child"]


async def test_outside_of_skerry_there_is_one_clear_sentence() -> None:
    with pytest.raises(AssertionError, match="Refused: cannot reach a node: SKERRY_SOCKET is not"):
        await _run("from skerry import sdk\nsdk.publish('a', 1)")
    assert issubclass(Refused, SkerryError)


async def _run(script: str, **environment: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        env={"PATH": os.environ["PATH"], **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, stderr.decode()


@pytest.fixture
def sample(path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(module: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", f"skerry.samples.{module}"],
            env={"PATH": os.environ["PATH"], "SKERRY_SOCKET": str(path), **environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


async def test_the_samples_measure_watch_and_end_when_asked(
    short_dir: Path, path: Path, sample: Callable[..., subprocess.Popen[bytes]]
) -> None:
    async with local_node(short_dir, path) as store:
        sensors = sample("host_sensors", INTERVAL="50ms")
        watch = sample("disk_watch", LIMITS="host.memory.used=1 host.cpu.percent=1000")
        await eventually(lambda: store.head("event").n == 1, "the limit is crossed")
        [(_, _, text)] = held(store, "event")
        assert str(text).startswith("host.memory.used is ")
        client = make_client(path)

        async def measured() -> bool:
            asked = ("host.*", "measurement", None, 10_000, 30.0)
            return {row.name for row in await asyncio.to_thread(client.query, *asked)} >= {
                "host.cpu.percent", "host.memory.used", "host.memory.percent", "host.disk.percent",
                "host.load.1m", "host.network.rx.bytes_per_second", "host.uptime",
            }  # fmt: skip

        await eventually(measured, "all is measured: rates from the second time on")
        for process in (sensors, watch):
            process.terminate()
            assert await asyncio.to_thread(process.wait, 30) == 0
        told = store.head("event").n
        again = sample("disk_watch", LIMITS="host.memory.used=1")  # finds its own event: still high

        async def told_back() -> bool:
            await asyncio.to_thread(client.publish, "measurement", [("host.memory.used", -2)], 30.0)
            return store.head("event").n > told

        await eventually(told_back, "back to normal is told")
        assert "back at or below" in str(held(store, "event")[-1][2])
        again.terminate()
        assert await asyncio.to_thread(again.wait, 30) == 0


async def test_any_language_can_do_it_with_one_http_call(short_dir: Path, path: Path) -> None:
    """The first call of docs/reference/publish.md, with nothing but a socket."""
    page = (Path(__file__).parents[2] / "docs/reference/publish.md").read_text()
    found = re.search(r"-d '(.+)'\n```\n\n```json\n(.+)\n```", page)
    assert found is not None
    body, expected = found.groups()
    request = (
        f"POST /v1/publish HTTP/1.1\r\nHost: node\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )

    def call() -> bytes:
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as plain:
            plain.connect(str(path))
            plain.sendall(request.encode())
            return plain.recv(65536)

    async with local_node(short_dir, path) as store:
        answer = await asyncio.to_thread(call)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(expected.encode())
        assert store.head("keep").n == 1


def test_a_client_that_nobody_uses_any_more_is_let_go(path: Path) -> None:
    client = make_client(path)
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
