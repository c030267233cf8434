"""What becomes of a command whose driver is not there, does not answer, or answers nonsense."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import msgspec
import pytest
from tests.memory import memory

from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.node.twin_orders import TwinOrders
from skerry.node.twin_ports import NotSaid, Told
from skerry.node.twins.commanding import ANSWERS_WITHIN, LISTENS_WITHIN, TwinCommands
from skerry.testing.manual_clock import ManualClock
from skerry.wire.devices import MAX_REPLY, Action, Command

TWIN = "6f1f0c1e-0000-4000-8000-000000000001"
BASE = f"devcyberwave/twin/{TWIN}"
TOPIC = f"{BASE}/command"
WORKFLOW = "6f1f0c1e-0000-4000-8000-000000000002"
RUNS = f"devcyberwave/workflow/{WORKFLOW}"


class Broker:
    """Answers each request by what `fate` says; `said` are the requests that it had."""

    def __init__(self, fate: Callable[[], bool]) -> None:
        self.fate = fate
        self.said: list[dict[str, object]] = []
        self.topics: list[str] = []

    async def ask(self, topic: str, payload: bytes, response: str) -> bool:
        assert response == f"{topic}/skerry-o/response"
        self.topics.append(topic)
        self.said.append(json.loads(payload))
        return self.fate()


def order(action: Action = "twin_command", **message: object) -> Command:
    payload = msgspec.Raw(json.dumps({"command": "arm"} | message).encode())
    return Command("o", action, 1, 2, "ann", "r1", TWIN, payload)


async def given(commands: TwinCommands, clock: ManualClock, one: Command) -> Told:
    """Time passes until there is an answer."""
    giving = asyncio.create_task(commands.give(one))
    while not giving.done():
        await asyncio.sleep(0)
        clock.advance(0.5)
    return await giving


def always(error: Exception) -> Callable[[], bool]:
    def fate() -> bool:
        raise error

    return fate


def site(fate: Callable[[], bool], clock: ManualClock) -> tuple[Broker, TwinCommands]:
    broker = Broker(fate)
    return broker, TwinCommands(
        broker, lambda twin: twin == TWIN, lambda one: one == WORKFLOW, lambda: "dev", clock
    )


@pytest.mark.guarantee("G4")
async def test_no_answer_takes_the_agents_memory(manual_clock: ManualClock) -> None:
    """JSON of many small values takes thirty times its length."""
    many = b"[" + b"{}," * 300_000 + b"{}]"
    _, commands = site(lambda: True, manual_clock)
    giving = asyncio.create_task(commands.give(order()))
    await asyncio.sleep(0)
    with memory() as most:
        commands.heard(TWIN, TOPIC, b'{"status": "done", "x": %b}' % many)
        assert most() < 5 * len(many)
    await asyncio.sleep(0)
    with memory() as most:
        answer = b'{"status": "accepted", "x": %b}' % many
        commands.heard(TWIN, f"{TOPIC}/skerry-o/response", answer)
        told = await giving
        assert most() < 5 * len(many)
    assert "bytes, which are too many to be read" in told.message


async def test_one_that_does_not_answer_was_told(manual_clock: ManualClock) -> None:
    broker, commands = site(lambda: True, manual_clock)
    reply = await given(commands, manual_clock, order())
    assert reply == Told(f"its driver was told, and has not answered for {ANSWERS_WITHIN:.0f} s")
    assert broker.topics == [TOPIC]
    commands.heard(TWIN, f"{TOPIC}/skerry-o/response", b'{"status":"accepted"}')  # too late


@pytest.mark.parametrize("fate", [lambda: False, always(NotSaid("the gate is not there"))])
async def test_nobody_listens(manual_clock: ManualClock, fate: Callable[[], bool]) -> None:
    broker, commands = site(fate, manual_clock)
    with pytest.raises(Refused, match="Nothing was done"):
        await given(commands, manual_clock, order())
    assert len(broker.said) == LISTENS_WITHIN / 0.5 + 1


async def test_where_nobody_knows_it_is_not_said_again(manual_clock: ManualClock) -> None:
    broker, commands = site(always(Transient("the gate has hung up")), manual_clock)
    with pytest.raises(Refused, match="not told again"):
        await given(commands, manual_clock, order())
    assert len(broker.said) == 1


@pytest.mark.parametrize("message", [{"command": ""}, {"command": 5}, {"status": "ok"}])
async def test_what_is_no_command_is_refused(
    manual_clock: ManualClock, message: dict[str, object]
) -> None:
    broker, commands = site(lambda: True, manual_clock)
    with pytest.raises(InvalidInput):
        await given(commands, manual_clock, order(**message))
    assert broker.said == []


async def test_what_the_message_says_stays(manual_clock: ManualClock) -> None:
    broker, commands = site(lambda: True, manual_clock)
    await given(commands, manual_clock, order(source_type="sim_tele", timestamp=5, sensor_id="s"))
    assert broker.said == [
        {"source_type": "sim_tele", "data": {}, "timestamp": 5, "command": "arm", "sensor_id": "s"}
    ]


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (b'{"status":"accepted"}', Told("accepted", '{"status":"accepted"}')),
        (b'{"status":"timeout"}', Told("timeout", '{"status":"timeout"}', failed=True)),
        (
            b'{"status":{"a":1},"reason":"secret"}',
            Told("its driver has answered", '{"status":{"a":1},"reason":"secret"}'),
        ),
        (b"\xff\x00", Told("its driver answered with 2 bytes that are no JSON object")),
    ],
)
async def test_answers(manual_clock: ManualClock, answer: bytes, reply: Told) -> None:
    _, commands = site(lambda: True, manual_clock)
    giving = asyncio.create_task(commands.give(order()))
    await asyncio.sleep(0)
    commands.heard(TWIN, TOPIC, b'{"command":"arm"}')
    commands.heard(TWIN, f"{TOPIC}/skerry-other/response", b'{"status":"denied"}')
    commands.heard(TWIN, TOPIC, b'{"status":"ok","command":"another"}')
    commands.heard(TWIN, f"{TOPIC}/skerry-o/response", answer)
    commands.heard(TWIN, f"{TOPIC}/skerry-o/response", b'{"status":"denied"}')
    assert await giving == reply


async def test_an_endless_answer_is_not_kept(manual_clock: ManualClock) -> None:
    _, commands = site(lambda: True, manual_clock)
    giving = asyncio.create_task(commands.give(order()))
    await asyncio.sleep(0)
    endless = json.dumps({"status": "ok", "messages": ["x" * MAX_REPLY]}).encode()
    commands.heard(TWIN, f"{TOPIC}/skerry-o/response", endless)
    reply = await giving
    assert reply.reply == ""
    assert "is not kept" in reply.message


async def test_a_motion_is_not_answered(manual_clock: ManualClock) -> None:
    broker, commands = site(lambda: True, manual_clock)
    assert await commands.give(order("twin_motion")) == Told("its driver was told")
    assert broker.topics == [f"{BASE}/motion/command"]
    assert broker.said == [
        {"command": "arm", "source_type": "tele", "timestamp": manual_clock.wall_ns() / 1e9}
    ]


@pytest.mark.parametrize(
    ("action", "part", "by"),
    [
        ("twin_navigate", "navigate", "action_id"),
        ("twin_mission", "mission", "mission_execution_uuid"),
    ],
)
async def test_what_becomes_of_it_is_told_on_the_status_topic(
    manual_clock: ManualClock, action: Action, part: str, by: str
) -> None:
    broker, commands = site(lambda: True, manual_clock)
    giving = asyncio.create_task(commands.give(order(action)))
    await asyncio.sleep(0)
    assert broker.topics == [f"{BASE}/{part}/command"]
    assert broker.said[0][by] == "o"
    status = f"{BASE}/{part}/status"
    for other in (
        {by: "another", "status": "failed"},
        {by: "o"},
        {"status": "failed"},
    ):
        commands.heard(TWIN, status, json.dumps(other).encode())
    commands.heard(TWIN, TOPIC, json.dumps({by: "o", "status": "failed"}).encode())
    commands.heard(TWIN, status, json.dumps({by: "o", "status": "running"}).encode())
    assert await giving == Told(
        "running", json.dumps({by: "o", "status": "running"}, separators=(",", ":"))
    )

    giving = asyncio.create_task(commands.give(order(action, **{by: "mine"})))
    await asyncio.sleep(0)
    commands.heard(TWIN, status, json.dumps({by: "mine", "status": "failed"}).encode())
    assert (await giving).failed


async def test_what_a_status_is_to_be_about_is_a_text(manual_clock: ManualClock) -> None:
    broker, commands = site(lambda: True, manual_clock)
    with pytest.raises(InvalidInput, match="action_id"):
        await commands.give(order("twin_navigate", action_id=5))
    assert broker.said == []


async def test_a_workflow_is_run_and_its_run_is_cancelled(manual_clock: ManualClock) -> None:
    broker, commands = site(lambda: True, manual_clock)
    run = order("run_workflow", workflow_uuid=WORKFLOW, inputs={"a": 1})
    told = await commands.give(run)
    assert told == Told("its worker was told", '{"execution_uuid":"o"}')
    [said] = broker.said
    assert said.pop("requested_at")
    assert said == {
        "command": "arm", "request_id": "r1", "execution_uuid": "o", "inputs": {"a": 1}, "params": {},
    }  # fmt: skip
    cancel = order("cancel_workflow", workflow_uuid=WORKFLOW, execution_uuid="o")
    assert (await commands.give(cancel)).message == "its worker was told"
    assert broker.topics == [f"{RUNS}/run", f"{RUNS}/cancel"]
    assert "request_id" not in broker.said[1]


async def test_another_devices_workflow_is_not_run(manual_clock: ManualClock) -> None:
    broker, commands = site(lambda: True, manual_clock)
    with pytest.raises(Refused, match="none of this device's"):
        await commands.give(order("run_workflow", workflow_uuid=TWIN))
    assert broker.said == []


async def test_no_worker_listens(manual_clock: ManualClock) -> None:
    _, commands = site(lambda: False, manual_clock)
    with pytest.raises(Refused, match="no worker listens to its runs"):
        await given(commands, manual_clock, order("run_workflow", workflow_uuid=WORKFLOW))
    with pytest.raises(Refused, match="no driver listens to its motion/command"):
        await given(commands, manual_clock, order("twin_motion"))


class Handlers:
    """Says what it was asked."""

    async def restart_edge_core(self, request_id: str, alert: str = "") -> str:
        return f"restart {request_id} {alert}"

    async def start_driver(self, twin: str) -> str:
        return f"start {twin}"

    async def sync_workflows(self) -> str:
        return "sync"

    async def remove_workflow_worker(self, files: list[str], workflow: str) -> str:
        return f"remove {files} {workflow}"


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (order("restart_edge_core", alert_uuid="a1"), "restart r1 a1"),
        (order("start_driver"), f"start {TWIN}"),
        (order("sync_workflows"), "sync"),
        (
            order("remove_workflow_worker", worker_filenames=["wf_a.py"], workflow_uuid="w"),
            "remove ['wf_a.py'] w",
        ),
    ],
)
async def test_orders_go_to_who_does_them(one: Command, message: str) -> None:
    assert await TwinOrders(None, Handlers(), Handlers(), Handlers()).do(one) == Told(message)
    with pytest.raises(Refused, match="cannot do"):
        await TwinOrders(None, None, None).do(one)


async def test_words_that_are_wrong_are_refused() -> None:
    with pytest.raises(InvalidInput, match="remove workers"):
        await TwinOrders(None, None, Handlers()).do(
            order("remove_workflow_worker", worker_filenames="wf")
        )
