"""The hub's border: which push units are read, and what is said about those that are not."""

import msgspec
import pytest
from msgspec.structs import replace
from tests.bad_units import BAD, raw_unit
from tests.hub_rig import Lanes, batch, node_info, status

from skerry.hub.sync.frames import read_frames
from skerry.kit.errors import InvalidInput, Refused
from skerry.wire.codec import encode
from skerry.wire.shared import MAX_ROW, Declaration, Edit, EditFrame
from skerry.wire.sync import PushUnit, StateFrame, StateRow

_TWO_NAMES = b'["measurement","s","ab",1,1,1,"synced",[[0,"good",1,1],[1,"no name",1,1]]]'


@pytest.mark.parametrize("what", BAD)
def test_what_no_honest_node_sends_is_refused_in_one_sentence(what: str) -> None:
    with pytest.raises(InvalidInput, match=r"^cannot (take|read) ") as refusal:
        read_frames("n", BAD[what])
    assert len(str(refusal.value)) < 500


def test_sizes_count_records_and_state_frames() -> None:
    assert read_frames("n", Lanes().unit("keep", [batch(1, 2), batch(3)])).sizes == [2, 1]
    frames = read_frames("n", Lanes().unit("state", [StateFrame([status("a"), status("b")])]))
    assert frames.sizes == [1]
    assert read_frames("n", Lanes().unit("keep", [])).sizes == []


def test_a_message_names_the_frame_and_the_field() -> None:
    unit = Lanes().unit("keep", [batch(1), batch(2, name="no name")])
    with pytest.raises(InvalidInput, match=r"frame 2 of lane keep.*\$\[7\]\[0\]\[1\]"):
        read_frames("n", unit)


def test_a_name_that_was_refused_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(InvalidInput, match=r"frame 1 of lane keep.*\$\[7\]\[1\]\[1\]"):
            read_frames("n", raw_unit(_TWO_NAMES))


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize(
    "row",
    [
        StateRow("assignment", "a", 0, 1, "hub"),
        StateRow("song", "a", 0, 1, "n"),
        node_info("other"),
    ],
)
def test_a_node_may_not_write_everything(row: StateRow) -> None:
    with pytest.raises(Refused):
        read_frames("n", Lanes().unit("state", [StateFrame([row])]))


def _edits(declared: Edit) -> PushUnit:
    frame = EditFrame("recipe", [Edit("a", 0, 1, "put", msgspec.Raw(b"{}"))], declared)
    return raw_unit(encode(frame), lane="rows-medium")


def test_a_declaration_that_edits_bring_is_read_as_strictly_as_one_that_comes_alone() -> None:
    right = Edit("recipe", 0, 1, "put", msgspec.Raw(encode(Declaration("central_wins"))))
    [read] = read_frames("n", _edits(right)).edits
    assert read.declared is not None
    for wrong, why in (
        (replace(right, id="other"), "no declaration of the frame's entity"),
        (replace(right, kind="delete"), "no declaration of the frame's entity"),
        (replace(right, body=msgspec.Raw(b"[]")), "the body is not what a put has"),
        (replace(right, body=msgspec.Raw(b'{"strategy":"chance"}')), "the declaration of «recipe»"),
        (replace(right, body=msgspec.Raw(b'{"x":"%s"}' % (b"x" * MAX_ROW))), "it is too long"),
    ):
        with pytest.raises(InvalidInput, match=why):
            read_frames("n", _edits(wrong))
