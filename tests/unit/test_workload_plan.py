"""The plan as a table: what is wanted, what is, which step follows."""

import msgspec
import pytest
from tests.workload_cases import NOW, live, row, wish

from skerry.kit.clock import NS
from skerry.node.store.instances import ActualWorkload, History
from skerry.node.workloads.changes import hold
from skerry.node.workloads.plan import Facts, plan
from skerry.node.workloads.steps import (
    AbandonInstance,
    KillWorkload,
    Remove,
    StartWorkload,
    Step,
    StopWorkload,
    Wait,
)
from skerry.wire.workload import (
    Assignment,
    ContainerSpec,
    LocalIntent,
    Logs,
    OnDisconnect,
    Ready,
    Resources,
    Restart,
    Stop,
    WorkerSpec,
)

T = NOW.monotonic
STOP_AFTER_MINUTE = OnDisconnect(stop_after=60.0)


def steps(
    desired: list[Assignment],
    actual: list[ActualWorkload],
    *,
    offline_for: float | None = None,
    stop_all: bool = False,
) -> list[Step]:
    return plan(
        {one.workload: one for one in desired},
        {one.name: one for one in actual},
        Facts(NOW, offline_for, stop_all=stop_all),
    )


def local(n: int = 1, *, reloads: int = 0, stopped: bool = False) -> Assignment:
    """A wish to which the device has added something."""
    return msgspec.structs.replace(wish(n=n), local=LocalIntent(reloads, stopped))


BY_HAND = Wait("a", "stopped", "stopped by hand: «skerry worker start a» starts it")
HELD = msgspec.structs.replace(wish(), local=LocalIntent(stopped=True, held="it flaps"))
WAITS = LocalIntent(waits="waits for a")
HELD_BACK = msgspec.structs.replace(wish(), local=WAITS)
NEWER = msgspec.structs.replace(wish(n=2, command="new"), local=WAITS)
START, WAIT = StartWorkload("a"), Wait("a", "running")


@pytest.mark.parametrize(
    ("desired", "actual", "expected"),
    [
        # nothing there yet
        ([], [], []),
        ([wish()], [], [START]),
        ([wish("b"), wish("a")], [], [START, StartWorkload("b")]),
        # a start under way, or one whose answer was lost
        ([wish()], [live(phase="starting", pid=None)], [START]),
        # running as wanted
        ([wish()], [live()], [WAIT]),
        # removed
        ([], [live()], [StopWorkload("a", "removed")]),
        ([], [live(phase="starting", pid=None)], [StopWorkload("a", "removed")]),
        ([], [row(phase="backoff", due=T + NS)], [Remove("a")]),
        ([], [row(phase="succeeded")], [Remove("a")]),
        # changed: stopped first, started when it has ended
        ([wish(n=2, command="new")], [live()], [StopWorkload("a", "changed")]),
        ([wish(n=2, env={"A": "1"})], [live()], [StopWorkload("a", "changed")]),
        ([wish(n=2, resources=Resources(memory=1))], [live()], [StopWorkload("a", "changed")]),
        ([wish(n=2, logs=Logs(redact=["sk-*"]))], [live()], [StopWorkload("a", "changed")]),
        ([wish(n=2, isolation="strict")], [live()], [StopWorkload("a", "changed")]),
        ([wish(n=2, container=ContainerSpec(image="b"))], [live()], [StopWorkload("a", "changed")]),
        ([wish(n=2, command="new")], [row(phase="stopped")], [START]),
        # changed, but the process need not know
        ([wish(n=2)], [live()], [WAIT]),
        ([wish(n=2, logs=Logs(ship="error"))], [live()], [WAIT]),
        ([wish(n=2, restart=Restart(attempts=3))], [live()], [WAIT]),
        ([wish(n=2, stop=Stop(grace=1))], [live()], [WAIT]),
        # a restart on demand
        ([wish(restarts=1)], [live()], [StopWorkload("a", "restart")]),
        ([wish(restarts=1)], [row(phase="stopped")], [START]),
        ([wish(restarts=1)], [live(wish(restarts=1))], [WAIT]),
        ([wish(n=9, restarts=3)], [live(wish(restarts=5))], [WAIT]),
        # what a person or a change at the device wants
        ([local(reloads=1)], [live()], [StopWorkload("a", "reload")]),
        ([wish(n=2, worker=WorkerSpec("/b"))], [live(wish(worker=WorkerSpec("/w")))], [StopWorkload("a", "changed")]),
        ([wish(n=2, worker=WorkerSpec("/w", reload_delay=9.0))], [live(wish(worker=WorkerSpec("/w")))], [WAIT]),
        ([local(reloads=1)], [live(local(reloads=1))], [WAIT]),
        ([local(reloads=1)], [row(phase="failed")], [START]),
        ([local(reloads=1)], [row(phase="backoff", due=T + NS)], [START]),
        ([local(reloads=1, n=1)], [live(wish(n=5))], [StopWorkload("a", "reload")]),
        ([local(stopped=True)], [live()], [StopWorkload("a", "by-hand")]),
        ([local(stopped=True)], [row()], [BY_HAND]),
        ([local(stopped=True)], [row(phase="tripped", due=T + NS)], [BY_HAND]),
        ([HELD], [live()], [StopWorkload("a", "held")]),
        ([HELD], [row(phase="backoff", due=T + NS)], [Wait("a", "stopped", "it flaps")]),
        ([local()], [row(phase="stopped")], [START]),
        # not yet: what runs goes on
        ([HELD_BACK], [], [Wait("a", "pending", "waits for a")]),
        ([HELD_BACK], [row(phase="stopped")], [Wait("a", "pending", "waits for a")]),
        ([HELD_BACK], [live()], [WAIT]),
        ([HELD_BACK], [live(phase="starting", pid=None)], [START]),
        ([NEWER], [live()], [Wait("a", "running", "goes on as before: waits for a")]),
        # a newer image is looked for at its next start
        ([msgspec.structs.replace(wish(), local=LocalIntent(refreshes=2))], [live()], [WAIT]),
        # an end that is under way goes on, whatever is wanted by now
        ([wish()], [live(phase="stopping", kill_at=T + NS)], [Wait("a", "stopping", "", T + NS)]),
        ([], [live(phase="stopping", kill_at=T + NS)], [Wait("a", "stopping", "", T + NS)]),
        ([wish()], [live(phase="stopping", kill_at=T)], [KillWorkload("a")]),
        ([wish()], [live(phase="stopping", kill_at=T, kills=4)], [KillWorkload("a")]),
        ([], [live(phase="stopping", kill_at=T, pid=None)], [KillWorkload("a")]),
        ([], [live(phase="stopping", kill_at=T, pid=None, kills=1)], [AbandonInstance("a")]),
        # waiting for a due time
        ([wish()], [row(phase="backoff", due=T + 5)], [Wait("a", "backoff", "", T + 5)]),
        ([wish()], [row(phase="backoff", due=T)], [START]),
        (
            [wish()],
            [row(phase="tripped", due=T + 5, history=History(half_open=True))],
            [Wait("a", "tripped", "", T + 5)],
        ),
        (
            [wish()],
            [row(phase="tripped", due=T, history=History(half_open=True))],
            [START],
        ),
        # a new spec or a restart does not wait
        ([wish(n=2, command="new")], [row(phase="backoff", due=T + 5)], [START]),
        ([wish(restarts=1)], [row(phase="tripped", due=T + 5)], [START]),
        ([wish(n=2, restart=Restart(delay=9))], [row(phase="tripped", due=T + 5)], [START]),
        ([wish(n=2, stop=Stop(grace=9))], [row(phase="backoff", due=T + 5)],
         [Wait("a", "backoff", "", T + 5)]),
        # finished
        ([wish()], [row(phase="succeeded")], [Wait("a", "succeeded")]),
        ([wish()], [row(phase="failed", message="ended: code 3")],
         [Wait("a", "failed", "ended: code 3")]),
        ([wish(restarts=1)], [row(phase="succeeded")], [START]),
        ([wish(n=2, command="new")], [row(phase="succeeded")], [START]),
        ([wish(n=2)], [row(phase="succeeded")], [Wait("a", "succeeded")]),
        ([wish(n=2, restart=Restart(attempts=3))], [row(phase="failed")], [START]),
    ],
)  # fmt: skip
def test_one_workload(
    desired: list[Assignment], actual: list[ActualWorkload], expected: list[Step]
) -> None:
    assert steps(desired, actual) == expected


def test_a_finished_job_runs_again_only_under_always() -> None:
    job = wish(restart=Restart(policy="on-failure"))
    done = row(job, "succeeded")
    other = wish(n=2, restart=Restart(policy="never", attempts=3))
    assert steps([other], [done]) == [Wait("a", "succeeded")]
    assert steps([wish(n=3, restart=Restart())], [done]) == [START]


def test_a_stale_wish_is_ignored_and_shown() -> None:
    held = wish(n=5, command="new")
    (running,) = steps([wish(n=4, command="old")], [live(held)])
    assert isinstance(running, Wait)
    assert "older than the one in force" in running.reason
    (stopped,) = steps([wish(n=4, command="old", restarts=7)], [row(held, "backoff", due=T + 9)])
    assert stopped == Wait("a", "backoff", "", T + 9)


def test_an_epoch_outweighs_every_number() -> None:
    """The hub was restored: its count starts low again, but in a new epoch."""
    held = wish(n=500, epoch=1, command="old")
    assert steps([wish(n=2, epoch=2, command="new")], [live(held)]) == [
        StopWorkload("a", "changed")
    ]


@pytest.mark.parametrize(
    ("offline_for", "actual", "expected"),
    [
        (None, live, Wait("a", "running")),
        (0.0, live, Wait("a", "running", "", T + 60 * NS + 1)),
        (59.0, live, Wait("a", "running", "", T + NS + 1)),
        (60.0, live, StopWorkload("a", "disconnected")),
        (61.0, row, Wait("a", "stopped", "stopped: the hub has been away for more than 1m")),
        (59.0, row, START),
        (None, row, START),
    ],
)
def test_stop_after_a_time_without_the_hub(
    offline_for: float | None, actual: type, expected: Step
) -> None:
    cautious = wish(on_disconnect=STOP_AFTER_MINUTE)
    assert steps([cautious], [actual(cautious)], offline_for=offline_for) == [expected]


def test_without_that_setting_an_outage_means_nothing() -> None:
    assert steps([wish()], [live()], offline_for=1e9) == [WAIT]


def test_node_stop_stops_all_and_starts_none() -> None:
    found = steps(
        [wish("a"), wish("b"), wish("c"), wish("d")],
        [
            live(wish("a")),
            row(wish("b"), "backoff", due=T - 1),
            row(wish("d"), "succeeded"),
        ],
        stop_all=True,
    )
    by_hand = "stopped by «skerry node stop --workloads»"
    assert found == [
        StopWorkload("a", "node-stop"),
        Wait("b", "stopped", by_hand),
        Wait("c", "stopped", by_hand),
        Wait("d", "succeeded"),
    ]


APP = wish("app", depends_on={"db": "ready"})


@pytest.mark.parametrize(
    ("condition", "db", "may_start"),
    [
        ("running", None, False),
        ("running", row(wish("db"), "backoff", due=T + 1), False),
        ("running", live(wish("db"), "starting", pid=None), False),
        ("running", live(wish("db"), ready=False), True),
        ("running", live(wish("db"), "stopping", kill_at=T + 1), False),
        ("ready", live(wish("db"), ready=False), False),
        ("ready", live(wish("db"), ready=True), True),
        ("succeeded", live(wish("db")), False),
        ("succeeded", row(wish("db"), "failed"), False),
        ("succeeded", row(wish("db"), "succeeded"), True),
        # an older db that is about to be replaced does not count
        ("succeeded", row(wish("db", n=0, command="old"), "succeeded"), False),
        ("running", live(wish("db", n=0, command="old")), False),
    ],
)
@pytest.mark.parametrize("before", [None, "stopped", "backoff"])
def test_conditions_are_asked_before_every_start(
    condition: str, db: ActualWorkload | None, may_start: bool, before: str | None
) -> None:
    app = wish("app", depends_on={"db": condition})
    there = [row(app, before)] if before else []
    first, *_ = steps([app, wish("db")], [*there, *([db] if db else [])])
    if may_start:
        assert first == StartWorkload("app")
    else:
        assert isinstance(first, Wait)
        assert (first.phase, first.until) == ("pending", None)
        assert first.reason.startswith("waits for «db» to ")


def test_a_dependency_that_is_not_here_is_named() -> None:
    assert steps([APP], []) == [Wait("app", "pending", "needs «db», which is not on this node")]


def test_a_dependency_may_go_while_its_dependant_runs_and_that_is_shown() -> None:
    app, db = steps([APP], [live(APP), live(wish("db"))])
    assert app == Wait("app", "running", "needs «db», which is not on this node")
    assert db == StopWorkload("db", "removed")


def test_a_failing_dependency_does_not_end_its_dependant() -> None:
    app, _ = steps([APP, wish("db")], [live(APP), row(wish("db"), "tripped", due=T + 9)])
    assert app == Wait("app", "running")


def test_a_circle_waits_and_says_so() -> None:
    """The hub refuses circles; a node that gets one anyway must not hang."""
    circle = [
        wish("a", depends_on={"b": "running"}),
        wish("b", depends_on={"c": "ready"}),
        wish("c", depends_on={"a": "running"}),
        wish("d", depends_on={"a": "running"}),
        wish("e", depends_on={"e": "running"}),
    ]
    found = steps(circle, [])
    assert [one.reason for one in found if isinstance(one, Wait)] == [
        "cannot start: depends_on goes in a circle: a → b → c → a",
        "cannot start: depends_on goes in a circle: b → c → a → b",
        "cannot start: depends_on goes in a circle: c → a → b → c",
        "waits for «a» to run",
        "cannot start: depends_on goes in a circle: e → e",
    ]


def test_a_half_open_try_is_on_trial_until_it_has_lived_long_enough() -> None:
    history = History(half_open=True)
    (young,) = steps([wish()], [live(history=history, started=T - 59 * NS)])
    assert young == Wait("a", "running", "on trial for 1m", T + NS)
    (proven,) = steps([wish()], [live(history=history, started=T - 60 * NS)])
    assert proven == WAIT


def test_a_workload_that_is_not_ready_says_why() -> None:
    probed = wish(ready=Ready(tcp=80))
    (quiet,) = steps([probed], [live(probed, ready=False)])
    assert quiet == Wait("a", "running", "not ready yet")
    (failing,) = steps([probed], [live(probed, ready=False, probe="not ready: port 80: refused")])
    assert failing == Wait("a", "running", "not ready: port 80: refused")


def test_a_storage_limit_that_no_engine_enforces_is_said() -> None:
    resources = Resources(storage=1 << 20)
    boxed = wish(process=None, container=ContainerSpec(image="x"), resources=resources)
    (said,) = steps([boxed], [live(boxed)])
    assert "resources.storage is not enforced for containers" in said.reason
    for enforced in (
        wish(resources=resources),
        wish(
            process=None,
            container=ContainerSpec(image="x"),
            resources=resources,
            isolation="strict",
        ),
    ):
        assert steps([enforced], [live(enforced)]) == [WAIT]


def test_the_plan_changes_nothing_that_it_was_given() -> None:
    desired, actual = [wish(n=2, command="x")], [live()]
    before = msgspec.json.encode(desired), repr(actual)
    assert steps(desired, actual) == steps(desired, actual)
    assert (msgspec.json.encode(desired), repr(actual)) == before


def test_one_that_is_not_ready_is_so_once_nobody_asks_any_more() -> None:
    held = live(wish("a", ready=Ready(tcp=80)), ready=False, probe="not ready: port 80: refused")
    now = hold(held, wish("a", 2), NOW)
    assert (now.ready, now.probe) == (True, "")
    assert not hold(held, wish("a", 2, ready=Ready(tcp=81)), NOW).ready
