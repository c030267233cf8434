"""Who may publish and subscribe to what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.gate.topics import (
    Scope,
    is_client_id,
    is_kept,
    may_be_answered_at,
    may_publish,
    may_subscribe,
)

OWN, FOREIGN = "11111111-aaaa", "22222222-bbbb"
ENVIRONMENT, WORKFLOW = "env-1", "flow-1"


def scope(role: str = "driver", prefix: str = "") -> Scope:
    own = frozenset((OWN,))
    return Scope(
        1, role, prefix, own, frozenset((ENVIRONMENT,)), frozenset((WORKFLOW,)), "cyberwave-a"
    )


@pytest.mark.parametrize(
    "below", ["position", "telemetry", "command", "command/x/response", "navigate/command", "a//b"]
)
def test_a_client_publishes_for_its_own_twin(below: str) -> None:
    assert may_publish(scope(), f"cyberwave/twin/{OWN}/{below}")
    assert may_publish(scope(prefix="dev"), f"devcyberwave/twin/{OWN}/{below}")
    assert not may_publish(scope(), f"cyberwave/twin/{FOREIGN}/{below}")
    assert not may_publish(scope(prefix="dev"), f"cyberwave/twin/{OWN}/{below}")
    assert not may_publish(scope(), f"devcyberwave/twin/{OWN}/{below}")


@pytest.mark.parametrize(
    "topic",
    [
        f"cyberwave/joint/{OWN}/update",
        f"cyberwave/ping/{OWN}/request",
        f"cyberwave/environment/{ENVIRONMENT}/scene",
        f"cyberwave/workflow/{WORKFLOW}/execution/started",
    ],
)
def test_the_other_rooms(topic: str) -> None:
    assert may_publish(scope(), topic)
    for name in (OWN, ENVIRONMENT, WORKFLOW):
        other = topic.replace(name, FOREIGN)
        assert other == topic or not may_publish(scope(), other)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "cyberwave",
        "cyberwave/twin",
        f"cyberwave/twin/{OWN}",
        f"/cyberwave/twin/{OWN}/position",
        f"cyberwave//{OWN}/position",
        f"cyberwave/twin/{OWN}/+",
        f"cyberwave/twin/{OWN}/#",
        f"cyberwave/joint/{OWN}/state",
        f"cyberwave/pong/{OWN}/response",
        f"cyberwave/ping/{OWN}/request/more",
        f"cyberwave/other/{OWN}/x",
        "edges/1/command",
        "$SYS/broker/uptime",
        f"$share/g/cyberwave/twin/{OWN}/position",
        f"cyberwave/twin/{OWN.upper()}/position",
        f"cyberwave/twin/{OWN}\u200b/position",
    ],
)
def test_everything_else_is_refused(topic: str) -> None:
    assert not may_publish(scope(), topic)


@pytest.mark.parametrize("below", ["alert", "driverlog", "worker_health"])
def test_what_the_node_says_nobody_else_says(below: str) -> None:
    topic = f"cyberwave/twin/{OWN}/{below}"
    assert not may_publish(scope(), topic)
    assert not may_publish(scope("worker"), topic + "/x")
    assert may_publish(scope("node"), topic)
    assert may_subscribe(scope(), topic, "me")


@pytest.mark.parametrize(
    "topic",
    [
        f"cyberwave/twin/{OWN}/#",
        f"cyberwave/twin/{OWN}/+",
        f"cyberwave/twin/{OWN}/+/status",
        f"cyberwave/twin/{OWN}/command",
        f"cyberwave/twin/{OWN}/command/me/response",
        f"cyberwave/joint/{OWN}/+",
        f"cyberwave/pong/{OWN}/response",
        f"cyberwave/environment/{ENVIRONMENT}/+",
        f"cyberwave/workflow/{WORKFLOW}/run",
    ],
)
def test_a_client_hears_of_its_own(topic: str) -> None:
    assert may_subscribe(scope(), topic, "me")
    assert may_subscribe(scope(prefix="dev"), "dev" + topic, "me")
    assert not may_subscribe(scope(prefix="dev"), topic, "me")


@pytest.mark.parametrize(
    "topic",
    [
        "#",
        "+/#",
        "cyberwave/#",
        "cyberwave/twin/#",
        "cyberwave/twin/+/position",
        f"cyberwave/twin/{FOREIGN}/#",
        f"cyberwave/+/{OWN}/position",
        f"+/twin/{OWN}/position",
        f"+cyberwave/twin/{OWN}/position",
        f"cyberwave/twin/{OWN}",
        f"cyberwave/twin/{OWN}/a#",
        f"cyberwave/twin/{OWN}/#/a",
        f"cyberwave/twin/{OWN}/a+/b",
        f"cyberwave/twin/{OWN}/command/other/response",
        f"cyberwave/twin/{OWN}/command/+/response",
        f"cyberwave/twin/{OWN}/+/other/response",
        f"cyberwave/twin/{OWN}/command/other/#",
        f"cyberwave/joint/{OWN}/#/x",
        f"cyberwave/joint/{OWN}/a/b",
        f"cyberwave/pong/{FOREIGN}/response",
        f"$share/group/cyberwave/twin/{OWN}/position",
        "$SYS/#",
        "edges/#",
    ],
)
def test_a_client_hears_nothing_else(topic: str) -> None:
    assert not may_subscribe(scope(), topic, "me")


@given(st.text("abc/+#$cyberwtin1-", max_size=40), st.text("abc+#/", max_size=5))
def test_a_permitted_filter_names_one_of_its_own(topic: str, client_id: str) -> None:
    for tried in (topic, f"cyberwave/twin/{topic}", f"cyberwave/joint/{topic}"):
        if may_subscribe(scope(), tried, client_id) or may_publish(scope(), tried):
            assert tried.split("/")[2] in (OWN, ENVIRONMENT, WORKFLOW)


def test_an_answer_is_asked_for_where_one_hears_it() -> None:
    mine = f"cyberwave/twin/{OWN}/command/me/response"
    assert may_be_answered_at(scope(), mine, "me")
    assert not may_be_answered_at(scope(), mine.replace("/me/", "/other/"), "me")
    assert not may_be_answered_at(scope(), f"cyberwave/twin/{FOREIGN}/command/me/response", "me")
    assert not may_be_answered_at(scope(), f"cyberwave/twin/{OWN}/#", "me")


def test_client_ids_match_only_themselves() -> None:
    assert is_client_id("python-sdk_live_0123")
    assert not any(is_client_id(text) for text in ("+", "a/b", "#", "x+", "x" * 1001))


def test_events_are_kept_and_samples_make_up_for_each_other() -> None:
    for below in ("event", "map_update", "navigate/status"):
        assert is_kept(scope(), f"cyberwave/twin/{OWN}/{below}")
    assert is_kept(scope(prefix="x/y"), f"x/ycyberwave/workflow/{WORKFLOW}/execution/started")
    for below in ("position", "gps", "telemetry", "navigate/command", "x/event"):
        assert not is_kept(scope(), f"cyberwave/twin/{OWN}/{below}")


def test_a_scope_covers_what_is_less() -> None:
    more = scope()._replace(twins=frozenset((OWN, FOREIGN)))
    assert more.covers(scope())
    assert not scope().covers(more)
    assert not scope().covers(scope()._replace(prefix="dev"))
    assert not scope().covers(scope("worker"))
