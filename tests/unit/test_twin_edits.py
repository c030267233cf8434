"""What a driver has changed in its twin's file, and what a refresh makes of the file."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.merging.bodies import Body, same
from skerry.kit.errors import InvalidInput
from skerry.node.twins.edits import edit_of, refreshed, text_of, view_of

TWIN = "6f1f0c1e-0000-4000-8000-000000000001"

BODY: Body = {
    "uuid": TWIN,
    "name": "arm",
    "description": None,
    "asset_uuid": "a",
    "position_x": 1.0,
    "metadata": {
        "drivers": {"default": {"docker_image": "a:1"}},
        "edge_fingerprint": "here",
        "edge_configs": {"camera_config": {"fps": 10}, "edge_fingerprint": "here"},
        "note": "n",
    },
    "fixed_base": False,
    "joint_states": {"a": 1},
    "asset": {"name": "Arm"},
}

leaves = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a"])
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def changed(**fields: object) -> Body:
    return BODY | msgspec.json.decode(msgspec.json.encode(fields))


def metadata(**fields: object) -> Body:
    held = BODY["metadata"]
    assert isinstance(held, dict)
    return changed(metadata=held | fields)


def test_a_file_as_it_was_written_is_no_edit() -> None:
    assert edit_of(BODY, [BODY]).patch == {}
    assert edit_of(changed(position_x=1), [BODY]).patch == {}  # as another program writes 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "leg"),
        ("description", ""),
        ("position_x", 2.5),
        ("position_y", -1),
        ("position_z", 1e-9),
        ("rotation_w", 0.5),
        ("scale_z", 2),
        ("kinematics_override", {"joints": []}),
        ("kinematics_override", None),
        ("joint_calibration", {"j1": {"offset": 0.1}}),
        ("controller_policy_uuid", TWIN),
        ("controller_policy_uuid", None),
        ("attach_to_link", "wrist"),
        ("attach_offset_x", 0.1),
        ("attach_offset_rotation_w", 0.1),
        ("fixed_base", True),
    ],
)
def test_each_documented_field_goes_up(field: str, value: object) -> None:
    assert edit_of(changed(**{field: value}), [BODY]).patch == {field: value}


@pytest.mark.parametrize(
    "field",
    ["uuid", "asset_uuid", "environment_uuid", "joint_states", "capabilities", "asset", "mine"],
)
def test_nothing_else_does(field: str) -> None:
    assert edit_of(changed(**{field: {"another": 1}}), [BODY]).patch == {}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", 7, "not a text"),
        ("name", None, "not a text"),
        ("position_x", "1", "not a number"),
        ("position_x", True, "not a number"),
        ("fixed_base", 1, "neither true nor false"),
        ("metadata", [], "not an object"),
        ("joint_calibration", [], "not an object"),
        ("controller_policy_uuid", "../../etc", "not a UUID"),
        ("attach_to_twin_uuid", "x", "not a UUID"),
    ],
)
def test_a_wrong_type_is_named(field: str, value: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=f"«{field}» is .*{words.removeprefix('not ')}"):
        edit_of(changed(name="leg") | changed(**{field: value}), [BODY])


def test_of_metadata_only_the_keys_that_changed_go_up() -> None:
    edit = edit_of(metadata(note="m", new={"a": [1]}), [BODY])
    assert edit.patch == {"metadata": {"note": "m", "new": {"a": [1]}}}
    config = {"camera_config": {"fps": 30}, "edge_fingerprint": "here"}
    edit = edit_of(metadata(edge_configs=config), [BODY])
    assert edit.patch == {"metadata": {"edge_configs": {"camera_config": {"fps": 30}}}}


def test_a_key_that_a_driver_has_removed_is_no_edit() -> None:
    assert edit_of(changed(metadata={}), [BODY]).patch == {}


def test_who_serves_a_twin_and_what_runs_for_it_is_not_a_drivers_to_say() -> None:
    edit = edit_of(
        metadata(
            edge_fingerprint="there",
            drivers={"default": {"docker_image": "evil", "params": "--privileged"}},
            edge_configs={"edge_fingerprint": "there", "fps": 1},
        ),
        [BODY],
    )
    assert edit.patch == {"metadata": {"edge_configs": {"fps": 1}}}
    assert set(edit.left_out) == {
        "metadata.edge_fingerprint", "metadata.edge_configs.edge_fingerprint", "metadata.drivers"
    }  # fmt: skip
    assert edit_of(metadata(drivers={}), [BODY]).patch == {}
    attached = edit_of(changed(attach_to_twin_uuid=TWIN, name="leg"), [BODY])
    assert attached.patch == {"name": "leg"}
    assert attached.left_out == ("attach_to_twin_uuid",)
    assert edit_of(metadata(attach_to_twin_uuid=TWIN), [BODY]).patch == {}
    only = edit_of(metadata(edge_fingerprint="there"), [BODY])
    assert only.patch == {}


def test_what_is_just_being_written_is_no_edit() -> None:
    """Killed in between, the file is the former or the next one; a driver's edit of either is found."""
    following = changed(name="by the hub", position_x=9.0)
    assert edit_of(following, [BODY, following]).patch == {}
    assert edit_of(BODY, [BODY, following]).patch == {}
    mixed = following | {"position_x": 1.0}
    assert edit_of(mixed, [BODY, following]).patch == {}
    assert edit_of(following | {"position_x": 5.0}, [BODY, following]).patch == {"position_x": 5.0}


def test_a_refresh_keeps_what_only_the_file_has() -> None:
    file = metadata(mine="kept") | {"local": {"a": 1}}
    now = changed(name="leg", metadata={"note": "m"})
    found = refreshed(file, BODY, now)
    assert found == now | {"metadata": {"note": "m", "mine": "kept"}, "local": {"a": 1}}


@given(objects, objects, objects)
def test_a_refresh_shows_the_twin_and_is_done_once(file: Body, was: Body, now: Body) -> None:
    merged = refreshed(file, was, now)
    assert _holds(merged, now)
    assert same(refreshed(merged, now, now), merged)


@given(objects, objects, objects)
def test_after_a_refresh_nothing_is_an_edit(file: Body, was: Body, now: Body) -> None:
    written = refreshed({"metadata": file}, {"metadata": was}, {"metadata": now})
    assert edit_of(msgspec.json.decode(text_of(written)), [written]).patch == {}


def test_a_view_is_complete_and_has_its_asset() -> None:
    view = view_of(TWIN, {"name": "arm", "asset_uuid": "a-1"}, {"registry_id": "x/arm"})
    assert view["uuid"] == TWIN
    assert view["rotation_w"] == 1.0
    assert view["glb_file"] is None
    asset = view["asset"]
    assert isinstance(asset, dict)
    assert (asset["uuid"], asset["registry_id"], asset["name"]) == ("a-1", "x/arm", "")
    assert "asset" not in view_of(TWIN, {}, None)


def _holds(merged: object, now: object) -> bool:
    """Whether all that `now` says is to be seen in `merged`."""
    if isinstance(merged, dict) and isinstance(now, dict):
        return all(key in merged and _holds(merged[key], now[key]) for key in now)
    return same(merged, now)
