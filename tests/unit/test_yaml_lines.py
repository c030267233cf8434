"""YAML with places: what is understood, and what is refused where."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.core.yaml_lines import Document, Place, read_documents
from skerry.kit.errors import InvalidInput


def read(text: str) -> Document:
    [document] = read_documents(text, "f.yaml")
    return document


def complaint_about(text: str) -> str:
    try:
        read_documents(text, "f.yaml")
    except InvalidInput as error:
        return str(error)
    return "f.yaml is fine"


def test_values_have_places() -> None:
    document = read("a: 1\nb: [x, {c: 1.10}]\n")
    assert document.value == {"a": 1, "b": ["x", {"c": 1.1}]}
    assert document.places == {
        (): Place(1, 1),
        ("a",): Place(1, 1, "1"),
        ("b",): Place(2, 1),
        ("b", 0): Place(2, 5, "x"),
        ("b", 1): Place(2, 8),
        ("b", 1, "c"): Place(2, 9, "1.10"),
    }


def test_the_line_of_what_is_missing_is_that_of_what_holds_it() -> None:
    assert read("a: 1\nb:\n  c: 2\n").line(("b", "missing", 3)) == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("2026-01-31", "2026-01-31"),
        ("1_000", "1_000"),
        ("1e999", "1e999"),
        ("0x1F", "0x1F"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("-7", -7),
        (".5", 0.5),
        ('"1"', "1"),
        ("'true'", "true"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert read(f"x: {text}").value == {"x": value}


def test_several_documents_and_none() -> None:
    documents = read_documents("# nothing\n---\na: 1\n---\n---\nb: 2\n", "f.yaml")
    assert [document.value for document in documents] == [{"a": 1}, {"b": 2}]
    assert documents[1].line(("b",)) == 6
    assert read_documents("# only a comment\n", "f.yaml") == []


NO_ANCHORS = "anchors and aliases («&», «*») are not supported: write the value out, or quote a text that begins so"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: «a» is given twice, first in line 1"),
        ("a:\n\tb: 1\n", "f.yaml:2:1: a tab cannot indent YAML: use spaces"),
        ("a: &x [1]\nb: *x\n", f"f.yaml:1:4: {NO_ANCHORS}"),
        ("a: *x\n", f"f.yaml:1:4: {NO_ANCHORS}"),
        ("streams: {*: keep}\n", f"f.yaml:1:12: {NO_ANCHORS}"),
        ("a: !!python/name:os.system x\n", "f.yaml:1:4: tags («!») are not supported: write the plain value"),
        ("? [a]\n: 1\n", "f.yaml:1:3: the key of a field must be a text"),
        ("a: " + "[" * 40, "f.yaml:1:35: nested more than 32 levels deep"),
        ("a: {b: 1\n", "f.yaml:2:1: cannot read YAML: expected ',' or '}', but got '<stream end>'. Has the file been cut off?"),
        ("a: 'open\n", "f.yaml:2:1: cannot read YAML: found unexpected end of stream. Has the file been cut off?"),
        ("a: b: c\n", "f.yaml:1:5: cannot read YAML: mapping values are not allowed here"),
        ("a: 1\nb: \x00\n", "f.yaml:2:4: cannot read YAML: this is no text character. Is the file binary?"),
        ('a: "\\UFFFFFFFF"\n', "f.yaml: cannot read YAML: an escaped character does not exist"),
        ('a: "\\ud800"\n', "f.yaml:1:4: an escaped character is half of one (a lone surrogate)"),
        ("x" * (1 << 20) + "y", "cannot read f.yaml: it has more than a file may have (1 MiB)"),
    ],
    ids=lambda value: value[:24],
)  # fmt: skip
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_documents(text, "f.yaml")
    assert str(caught.value) == message


def test_a_billion_laughs_are_refused_at_the_first() -> None:
    lines = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    with pytest.raises(InvalidInput, match=r"f.yaml:1:5: anchors"):
        read_documents("\n".join(lines), "f.yaml")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("abc: -#'\"\n[]{}*&!ä", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.*", max_size=4), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), plain, min_size=1, max_size=4))
def test_json_means_the_same_here(value: dict[str, object]) -> None:
    assert read(json.dumps(value, ensure_ascii=False)).value == value


@settings(max_examples=300)
@given(st.text("ab:-{}[],&*!|>'\"#%@`?\n \t\\x0u\ud800\x07", max_size=60) | st.text(max_size=60))
def test_no_text_raises_anything_else(text: str) -> None:
    complaint = complaint_about(text)
    assert "f.yaml" in complaint
    assert "\n" not in complaint
