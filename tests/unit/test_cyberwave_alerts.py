"""What becomes of an alert, and of a driver's words about its commands and joints: pure."""

from __future__ import annotations

import pytest
from tests.cyberwave_sdk import Sdk

from skerry.core.cyberwave import folding
from skerry.core.cyberwave.alert_kinds import KINDS, kind_of
from skerry.core.cyberwave.catalogs import compiled, merged
from skerry.core.cyberwave.joints import JointState, states_in, states_of
from skerry.core.merging.bodies import Body
from skerry.kit.errors import InvalidInput

ASKED: Body = {"name": "Hot", "description": "J3", "twin_uuid": "t", "metadata": {"a": 1}}

REQUIRED = """
import json, sys
from cyberwave.rest.models.alert_schema import AlertSchema
alert = AlertSchema.from_dict(json.load(sys.stdin))
print(json.dumps([alert.status, alert.dedupe_count]))
"""

COMPILED = """
import json, sys
from cyberwave.manifest.cw_driver import compile_driver_mqtt_bundle, merge_mqtt_into_metadata
first, second = (compile_driver_mqtt_bundle(each) for each in json.load(sys.stdin))
both = merge_mqtt_into_metadata({"mqtt": first}, second, merge=True)["mqtt"]
for each in (first, second, both):
    del each["recommended_sdk_methods"], each["example_payloads"]
print(json.dumps([first, second, both]))
"""


def test_what_is_told_again_is_counted() -> None:
    first = folding.raised(ASKED, "1")
    again = folding.raised({**ASKED, "metadata": {"b": 2}}, "2")
    assert folding.folds(first, again)
    both = folding.folded(first, again, "2")
    assert (both["dedupe_count"], both["last_seen_at"], both["created_at"]) == (1, "2", "1")
    assert both["metadata"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("field", folding.SAME)
def test_another_thing_is_not_the_same(field: str) -> None:
    assert not folding.folds(folding.raised(ASKED, "1"), folding.raised({**ASKED, field: "x"}, "2"))


@pytest.mark.parametrize("status", ["acknowledged", "resolved", "silenced"])
def test_what_somebody_has_seen_to_is_told_anew(status: str) -> None:
    held = folding.changed(folding.raised(ASKED, "1"), {"status": status}, "2")
    assert not folding.folds(held, folding.raised(ASKED, "3"))
    assert held["resolved_at"] == (None if status == "acknowledged" else "2")


def test_nothing_new_changes_nothing() -> None:
    held = folding.over(folding.raised(ASKED, "1"), "resolved", "2")
    assert folding.over(held, "silenced", "3") == held
    assert folding.changed(held, {"name": "Hot"}, "3") == held
    assert folding.amended(held, {"a": 1}, "", "3") == held
    assert folding.changed(held, {"status": "active"}, "3")["resolved_at"] is None


def test_every_kind_has_a_title() -> None:
    assert KINDS["driver_restart_loop"].title == "Driver restart loop detected"
    assert kind_of("error").title == "No drivers specified"
    assert kind_of("driver_starting").force
    assert (kind_of("odd_thing").title, kind_of("odd_thing").severity) == ("Odd thing", "warning")


def test_the_sdk_reads_an_alert(cyberwave_sdk: Sdk) -> None:
    alert = folding.raised({"name": "a"}, "2026-11-22T10:00:00.123456789Z")
    assert cyberwave_sdk.ask(REQUIRED, {"uuid": "u", **alert}) == ["active", 0]


FIRST: Body = {
    "registry_ids": ["x/arm"],
    "mqtt": {
        "driver_family": "arm",
        "twin": {"command": {"direction": "Subscribe", "description": "c"}, "odd": 1},
        "webrtc": {"offer": {"direction": "both", "description": "o"}},
        "commands": {"supported": ["stop", {"name": "go", "rate_hz": 2, "continuous": True}]},
        "constraints": ["slow"],
        "nowhere": {"a": {"direction": "both", "description": "n"}},
    },
}
SECOND: Body = {
    "mqtt": {
        "schema_version": 1,
        "joint": {"update": {"direction": "publish", "description": "u", "units": {"p": "rad"}}},
        "commands": {"supported": ["turn"]},
    }
}


def test_catalogs_are_those_of_the_sdk(cyberwave_sdk: Sdk) -> None:
    """The one that it has for older programs; Cyberwave's own service compiles alike."""
    ours = [compiled(each)["mqtt"] for each in (FIRST, SECOND)]
    both = merged(*ours)
    theirs = cyberwave_sdk.ask(COMPILED, [FIRST, SECOND])
    # The SDK forgets what was special about commands that it does not name this time.
    theirs[2]["commands"]["specs"] = theirs[0]["commands"]["specs"] | theirs[1]["commands"]["specs"]
    assert [*ours, both] == theirs


@pytest.mark.parametrize(
    "mqtt",
    [
        [],
        {"twin": {"a": {"description": "no direction"}}},
        {"twin": {"a": {"direction": "up"}}},
        {"commands": {"supported": ["a", "a"]}},
        {"commands": [{"rate_hz": 1}]},
        {"commands": [{"name": "a", "rate_hz": "often"}]},
    ],
)
def test_a_schema_that_is_wrong_is_refused(mqtt: Body) -> None:
    with pytest.raises(InvalidInput, match="driver's schema"):
        compiled({"mqtt": mqtt})


def test_a_compiled_catalog_stays_as_it_is() -> None:
    catalog: Body = {"topics": {"t": {}}, "commands": {}}
    assert compiled({"mqtt": catalog, "zenoh": {"channels": {}}}) == {
        "mqtt": catalog,
        "zenoh": {"channels": {}},
    }
    assert compiled({"registry_id": "x"}) == {}


@pytest.mark.parametrize(
    ("payload", "states"),
    [
        ({"joint_name": "j", "joint_state": {"position": 1.5, "effort": 2}}, {"j": (1.5, None, 2)}),
        ({"source_type": "edge", "j": 1, "k": 2.5, "timestamp": 9.0}, {"j": (1, None, None), "k": (2.5, None, None)}),
        ({"positions": {"j": 1}, "velocities": {"j": 2}, "timestamp": 9.0}, {"j": (1, 2, None)}),
        ({"target_positions": {"j": 1}}, {}),
        ({"joint_name": "j", "joint_state": "far"}, {}),
        ({"j": True}, {}),
    ],
)  # fmt: skip
def test_all_shapes_of_joints_are_read(
    payload: Body, states: dict[str, tuple[float | None, float | None, float | None]]
) -> None:
    assert states_in(payload) == {name: JointState(*each) for name, each in states.items()}


def test_joints_of_a_row_are_numbers_or_objects() -> None:
    assert states_of({"a": 1, "b": {"velocity": 2}, "c": "x", "d": None}) == {
        "a": JointState(1),
        "b": JointState(velocity=2),
    }
    assert states_of(None) == {}
