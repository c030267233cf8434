"""Modules and records of their node: published by a call or a line, handled by a worker or one instance each."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.local_node import local_node
from tests.record_rig import submission

from skerry.node.ports import WasmLaunch
from skerry.node.store.records import RecordStore
from skerry.node.workloads.runtimes.router import Runtimes
from skerry.sdk.client import Client, Timing
from skerry.testing.exits import Exits
from skerry.testing.waiting import eventually
from skerry.testing.wasm_device import WasmDevice
from skerry.wire.people import Rows
from skerry.wire.records import Row
from skerry.wire.wasm import explained

PUBLISHES = """
(module
  (import "skerry" "publish" (func $publish (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "RECORD")
  (func (export "_start")
    (call $exit (i32.sub (i32.const 0) (call $publish (i32.const 0) (i32.const LENGTH))))))
"""

FOLLOWS = """
(module
  (import "skerry" "next" (func $next (param i32 i32 i32) (result i32)))
  (import "skerry" "log" (func $log (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $n i32)
    (loop $again
      (local.set $n (call $next (i32.const 0) (i32.const CAPACITY) (i32.const -1)))
      (drop (call $log (i32.const 0) (local.get $n)))
      (br $again))))
"""

ECHOES = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $again
      (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 60000))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.eqz (i32.load (i32.const 8))) (then (return)))
      (i32.store (i32.const 4) (i32.load (i32.const 8)))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $again))))
"""
"""Standard input to standard output."""

PRINTS = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "TEXT")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const LENGTH))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""

ENDLESS = '(module (func (export "_start") (loop $l (br $l))))'


def holding(template: str, text: str) -> str:
    """The module with a text of its own; surrogates stand for bytes that are no text."""
    quoted = "".join(f"\\{byte:02x}" for byte in text.encode(errors="surrogateescape"))
    word = "RECORD" if "RECORD" in template else "TEXT"
    return template.replace(word, quoted).replace(
        "LENGTH", str(len(text.encode(errors="surrogateescape")))
    )


class Site:
    """A device, a runtime that is connected, and a node that the modules can ask."""

    def __init__(self, device: WasmDevice, store: RecordStore, subscribed: list[str]) -> None:
        self.device = device
        self.store = store
        self.subscribed = subscribed
        self.exits = Exits()
        self.runtime: Runtimes = device.router(device.agent())
        self._sent = 0

    async def code(self, launch: WasmLaunch) -> int | None:
        """The exit code of a module that ends by itself."""
        await self.runtime.start(launch)
        return (await self.exits.of(launch.instance)).code

    async def follows(self, launch: WasmLaunch) -> None:
        """Starts a module and waits until its records would reach it."""
        await self.runtime.start(launch)
        await eventually(lambda: bool(self.subscribed), f"it subscribes; {self.device.log_text()}")

    async def send(self, value: float) -> None:
        """A record «env.x» of another workload."""
        self._sent += 1
        await self.store.append(submission(self._sent, value))

    async def rows(self, name: str) -> list[Row]:
        return (await self.answer(name)).rows

    async def answer(self, name: str) -> Rows:
        return await asyncio.to_thread(self._ask, name)

    def _ask(self, name: str) -> Rows:
        timing = Timing(time.time_ns, time.monotonic, time.sleep)
        client = Client(str(self.device.socket.parent / "w/w/sock"), timing, random.Random(7))
        return Rows(client.query(name, None, None, 100, None))

    async def says(self, text: str, times: int = 1) -> None:
        await eventually(
            lambda: self.device.log_text().count(text) >= times,
            f"«{text}» is in the log: {self.device.log_text()}",
        )


@pytest.fixture
async def site(short_dir: Path) -> AsyncIterator[Site]:
    device = WasmDevice(short_dir)
    socket = device.socket.parent / "w/w/sock"
    socket.parent.mkdir(parents=True)
    subscribed: list[str] = []
    async with local_node(short_dir, socket, subscribed=subscribed) as store:
        found = Site(device, store, subscribed)
        await found.runtime.connect(found.exits)
        yield found
        await device.end()


async def test_a_call_publishes_a_record(site: Site) -> None:
    record = '{"name": "box.value", "value": 42, "meta": {"unit": "C"}}'
    assert await site.code(site.device.module(holding(PUBLISHES, record))) == 0
    [row] = await site.rows("box.*")
    assert (row.value, row.meta, row.source, row.kind) == (42, {"unit": "C"}, "w", "measurement")
    event = '{"name": "box.opened", "value": "by hand", "kind": "event"}'
    assert await site.code(site.device.module(holding(PUBLISHES, event))) == 0
    [row] = await site.rows("box.opened")
    assert (row.value, row.kind) == ("by hand", "event")


@pytest.mark.parametrize(
    "record", ["21", '{"name": "a b", "value": 1}', '{"name": "a"}', "{", "", '{"name": "\udcff"}']
)
async def test_a_wrong_record_is_refused_and_named(site: Site, record: str) -> None:
    assert await site.code(site.device.module(holding(PUBLISHES, record))) == 1
    shown = record.encode(errors="surrogateescape").decode(errors="replace")
    await site.says(f"skerry: cannot publish «{shown}»: ")


async def test_lines_of_output_are_records_where_that_is_asked(site: Site) -> None:
    text = '{"name": "out.a", "value": 1}\nno record\n\n{"name": "out.b", "value": true}'
    launch = site.device.module(holding(PRINTS, text), output="records")
    assert await site.code(launch) == 0
    assert [(row.name, row.value) for row in await site.rows("out.*")] == [("out.a", 1), ("out.b", True)]  # fmt: skip
    await site.says("skerry: cannot publish «no record»: ")


async def test_an_address_outside_the_memory_ends_the_module(site: Site) -> None:
    text = PUBLISHES.replace("LENGTH", "-1")
    launch = site.device.module(text)
    await site.runtime.start(launch)
    assert explained(await site.exits.of(launch.instance)).reason == "trap"
    await site.says("skerry.publish: address and length lie outside the memory")


@pytest.mark.parametrize(
    "text", [FOLLOWS.replace("CAPACITY", "60000"), ECHOES], ids=["calls", "lines"]
)
async def test_a_worker_gets_records_one_after_the_other_and_may_wait(
    site: Site, text: str
) -> None:
    launch = site.device.module(text, mode="worker", input="env.*", deadline=0.02)
    await site.follows(launch)
    for value in (1.5, 2.5, 3.5):
        await site.send(value)
        await site.says(f'"value":{value}')
    assert launch.instance not in site.exits.told
    assert site.device.log_text().count('"name":"env.x"') == 3


async def test_each_record_brings_new_fuel(site: Site) -> None:
    text = FOLLOWS.replace("CAPACITY", "60000")
    await site.follows(site.device.module(text, mode="worker", input="env.*", fuel=40))
    for value in range(12):
        await site.send(value + 0.5)
        await site.says(f'"value":{value + 0.5}')


async def test_a_record_that_does_not_fit_stays(site: Site) -> None:
    text = FOLLOWS.replace("CAPACITY", "20")
    launch = site.device.module(text, mode="worker", input="env.*", fuel=1000)
    await site.follows(launch)
    await site.send(1.5)
    told = explained(await site.exits.of(launch.instance))
    assert told.reason == "out of fuel", "it gets the same length again and again, and no new fuel"


async def test_a_worker_that_computes_for_ever_meets_its_deadline(site: Site) -> None:
    launch = site.device.module(ENDLESS, mode="worker", input="env.*", deadline=0.2)
    await site.runtime.start(launch)
    assert explained(await site.exits.of(launch.instance)).reason == "deadline"


async def test_each_record_has_an_instance_of_its_own(site: Site) -> None:
    await site.follows(site.device.module(ECHOES, mode="on-record", input="env.*"))
    for value in (1.5, 2.5):
        await site.send(value)
        await site.says(f'"value":{value}')
    assert len(site.device.printed()) == 2


async def test_results_are_published_and_do_not_feed_the_module_again(site: Site) -> None:
    text = holding(PRINTS, '{"name": "env.answer", "value": 1}\n')
    await site.follows(site.device.module(text, mode="on-record", input="env.*", output="records"))
    for value in (1.5, 2.5):
        await site.send(value)

    async def answers() -> bool:
        return len(await site.rows("env.answer")) == 2

    await eventually(answers, "both are answered")
    await site.send(3.5)

    async def three() -> bool:
        return len(await site.rows("env.answer")) >= 3

    await eventually(three, "the third, too")
    assert len(await site.rows("env.answer")) == 3


@pytest.mark.parametrize(
    ("file", "said", "answer"), [("double.wasm", "", ("doubled", 3.0)), ("follow.wat", '"name":"env.x"', ("follow.seen", True))]
)  # fmt: skip
async def test_the_examples_run(
    site: Site, file: str, said: str, answer: tuple[str, object]
) -> None:
    path = Path(__file__).parents[2] / "examples/wasm" / file
    await site.follows(site.device.of_file(str(path), mode="worker", input="env.*"))
    await site.send(1.5)
    name, value = answer

    async def answered() -> bool:
        return [row.value for row in await site.rows(name)] == [value]

    await eventually(answered, f"it answers; {site.device.log_text()}")
    assert said in site.device.log_text()


@pytest.mark.parametrize(
    ("fields", "said"), [({"deadline": 0.1}, "deadline"), ({"fuel": 100_000}, "out of fuel")]
)
async def test_one_failing_instance_is_told_and_the_next_one_begins(
    site: Site, fields: dict[str, object], said: str
) -> None:
    launch = site.device.module(ENDLESS, mode="on-record", input="env.*", **fields)  # type: ignore[arg-type]
    await site.follows(launch)
    for _ in range(2):
        await site.send(1.0)
    await site.says(f"skerry: the module was ended, {said}", 2)
    await site.says("skerry: failed on record env.x of ", 2)
    assert launch.instance not in site.exits.told
