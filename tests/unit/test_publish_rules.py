"""What may be published, into which lane it goes, and how good the clock is: docs/reference/publish.md, rule by rule."""

import msgspec
import pytest

from skerry.kit.errors import InvalidInput
from skerry.node.data.publish import check, clock_quality, divide, lane_of, read_publish
from skerry.wire.records import INT64, Publish, PublishedRecord, Record


def request(*records: PublishedRecord, **others: object) -> Publish:
    return msgspec.convert({"records": list(records), **others}, Publish, from_attributes=True)


def one(value: object, **others: object) -> Publish:
    return Publish([PublishedRecord("env.x", value, **others)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", [True, 0, -INT64, INT64 - 1, 1.5, -0.0, 1e308, "", "a\n«b»\0", "x" * 65536]
)
def test_these_values_are_taken(value: object) -> None:
    check(one(value))


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (INT64, "is not a 64-bit integer; publish it as a text or as a float"),
        (-INT64 - 1, "is not a 64-bit integer"),
        (float("nan"), "NaN and Infinity are no values"),
        (float("-inf"), "NaN and Infinity are no values"),
        ("x" * 65537, "the text has 65537 bytes, at most 65536 are kept"),
        ("€" * 21846, "the text has 65538 bytes"),
    ],
)
def test_these_values_are_refused_with_their_rule(value: object, rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(one(value))
    assert str(caught.value).startswith("cannot publish record 0 «env.x»: ")
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("meta", "rule"),
    [
        ({str(n): n for n in range(33)}, "its meta has 33 keys, at most 32 are kept"),
        ({"": 1}, "a key of its meta has 0 characters"),
        ({"k" * 256: 1}, "a key of its meta has 256 characters"),
        ({"k": "x" * 1025}, "in its meta «k»: the text has 1025 bytes"),
        ({"k": float("inf")}, "in its meta «k»: NaN and Infinity"),
        ({"k": INT64}, "in its meta «k»: 9223372036854775808 is not a 64-bit integer"),
    ],
)
def test_meta_has_rules_of_its_own(meta: dict[str, object], rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(one(1, meta=meta))
    assert rule in str(caught.value)


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize("kind", ["event", "measurement"])
def test_a_workload_cannot_speak_for_the_platform(kind: str) -> None:
    for name in ("skerry.storage.freed", "skerry.x", "cyberwave/joint/t/j1"):
        with pytest.raises(
            InvalidInput, match=r"begin with «(skerry\.|cyberwave/)» are the node's own"
        ):
            check(request(PublishedRecord("env.x", 1), PublishedRecord(name, 1), kind=kind))
    check(request(PublishedRecord("skerry", 1), PublishedRecord("my.skerry.x", 1), kind=kind))


@pytest.mark.parametrize("at", [INT64, -INT64 - 1])
def test_a_time_that_does_not_fit_is_refused(at: int) -> None:
    with pytest.raises(InvalidInput, match="write nanoseconds since 1970"):
        check(one(1, at=at))


@pytest.mark.parametrize("at", [0, -1, INT64 - 1, -INT64])
def test_a_strange_time_is_never_refused(at: int) -> None:
    check(one(1, at=at))


def test_session_and_first_come_together() -> None:
    for others in ({"session": "ab" * 16}, {"first": 1}):
        with pytest.raises(InvalidInput, match="send both or neither"):
            check(request(PublishedRecord("a", 1), **others))


@pytest.mark.parametrize(
    "number", ["NaN", "-Infinity", "Infinity", "1e999", '1, "meta": {"a": NaN}']
)
def test_a_body_with_nan_is_refused_with_the_rule(number: str) -> None:
    with pytest.raises(InvalidInput, match="NaN and Infinity are no values"):
        read_publish(b'{"records": [{"name": "a", "value": %b}]}' % number.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"\xff\xfe", b'{"records": []}', b'{"records": [{"name": "a"}]}',
        b'{"records": [{"name": "", "value": 1}]}', b'{"records": [{"name": "a b", "value": 1}]}',
        b'{"records": [{"name": "a\\n", "value": 1}]}', b'{"records": [{"name": "a", "value": null}]}',
        b'{"records": [{"name": "a", "value": [1]}]}', b'{"records": [{"name": "a", "value": 1, "x": 2}]}',
        b'{"records": [{"name": "a", "value": 1}], "kind": "gap"}',
        b'{"records": [{"name": "a", "value": 1}], "session": "zz", "first": 1}',
        b'{"records": [{"name": "a", "value": "\\ud800"}]}', b'{"records": [{"name": "NaN", "value": {}}]}',
    ],
)  # fmt: skip
def test_other_wrong_bodies_are_refused_without_it(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="cannot read publish request") as caught:
        read_publish(body)
    assert "Infinity" not in str(caught.value)


def test_the_first_pattern_that_fits_decides_and_keep_is_the_default() -> None:
    streams = {"host.cpu.*": "keep", "host.*": "sample", "*": "keep"}
    assert lane_of("measurement", "host.cpu.percent", streams) == "keep"  # type: ignore[arg-type]
    assert lane_of("measurement", "host.load.1m", streams) == "sample"  # type: ignore[arg-type]
    assert lane_of("measurement", "env.x", streams) == "keep"  # type: ignore[arg-type]
    assert lane_of("measurement", "env.x", {}) == "keep"
    assert lane_of("event", "host.load.1m", {"*": "sample"}) == "event"


def test_records_are_divided_with_their_places_in_the_batch() -> None:
    batch = request(
        PublishedRecord("a", 1, at=5),
        PublishedRecord("b", 2),
        PublishedRecord("a", 3, meta={"k": 1}),
        PublishedRecord("b", 4, meta={}),
    )
    assert divide(batch, {"b": "sample"}, now=99) == [
        ("keep", [Record(0, "a", 5, 1), Record(2, "a", 99, 3, {"k": 1})]),
        ("sample", [Record(1, "b", 99, 2), Record(3, "b", 99, 4)]),
    ]


def test_a_wrong_clock_is_marked() -> None:
    assert clock_quality(99, floor_ns=100, synchronised=True) == "suspect"
    assert clock_quality(100, floor_ns=100, synchronised=True) == "synced"
    assert clock_quality(100, floor_ns=100, synchronised=False) == "unsynced"
