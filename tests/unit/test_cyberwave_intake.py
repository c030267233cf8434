"""What a captured message becomes, for every topic of Cyberwave's and whatever the payload is; nothing of it is lost."""

import base64
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.cyberwave.gathering import (
    JOURNAL_FULL,
    RATE,
    SHARE_FULL,
    Message,
    gathered,
    session_of,
)
from skerry.core.cyberwave.intake import (
    Content,
    Health,
    Intake,
    Kept,
    Ping,
    Reply,
    Rules,
    intake,
    name_of,
)
from skerry.core.cyberwave.payloads import time_of
from skerry.core.cyberwave.recordings import Recording
from skerry.core.cyberwave.thinning import Thinning
from skerry.kit.clock import NS
from skerry.wire.records import MAX_META_TEXT, MAX_NAME, MAX_TEXT, SPARSE_SESSION, Kind

TWIN = "11111111-1111-4111-8111-111111111111"
AT = 1_790_000_000 * NS
ANY = Rules()
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/]*")


def of(below: str, payload: object = b"{}", rules: Rules = ANY) -> Intake:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return intake(f"{rules.prefix}cyberwave/twin/{TWIN}/{below}", body, AT, rules)


def kept(found: Intake) -> Kept:
    assert isinstance(found, Kept)
    return found


@pytest.mark.parametrize(
    ("below", "lane", "rate"),
    [
        ("position", "sample", 40),
        ("rotation", "sample", 40),
        ("scale", "sample", 40),
        ("imu", "sample", 40),
        ("state/kinematics", "sample", 40),
        ("gps", "sample", 2),
        ("battery", "sample", 40),
        ("event", "event", 0),
        ("telemetry", "sample", 40),
        ("map_update", "event", 0),
        ("navigate/status", "event", 0),
    ],
)
def test_what_a_twin_says_becomes_records(below: str, lane: str, rate: float) -> None:
    body = b'{"source_type": "edge", "x": 1, "timestamp": 1790000001.5}'
    found = kept(of(below, body))
    assert (found.lane, found.per_second) == (lane, rate)
    assert found.name == f"cyberwave/twin/{TWIN}/{below}"
    assert found.value == body.decode()
    assert found.at == AT + 3 * NS // 2
    assert found.meta == {"source_type": "edge"}


@pytest.mark.parametrize(
    "below",
    [
        "alert",
        "driverlog",
        "worker_health",
        "webrtc-offer",
        "webrtc-candidate",
        "navigate/command",
        "motion/command",
        "mission/command",
    ],
)
def test_what_is_between_clients_or_the_nodes_own_becomes_nothing(below: str) -> None:
    assert of(below) is None


def test_health_and_answers_are_told_on() -> None:
    assert of("edge_health") == Health(TWIN)
    assert of("command") == of("command/python-sdk/response") == Reply(TWIN)
    assert intake(f"cyberwave/ping/{TWIN}/request", b"{}", AT, ANY) == Ping(TWIN)
    assert intake(f"cyberwave/ping/{TWIN}/other", b"{}", AT, ANY) is None


def test_how_far_a_driver_has_got_is_told_on_and_kept() -> None:
    topics = [f"cyberwave/twin/{TWIN}/{part}/status" for part in ("navigate", "mission", "motion")]
    topics.append(f"cyberwave/twin/{TWIN}/a/navigate/status")
    messages = [
        Message(n, AT, AT, 1, topic, b'{"status": "running"}', counts=True, gap=False)
        for n, topic in enumerate(topics, start=1)
    ]
    found = gathered("s", messages, ANY, Thinning(), AT)
    assert [(told, message.topic) for told, message in found.told] == [
        (Reply(TWIN), topic) for topic in topics[:2]
    ]
    kept = {one.record.name for each in found.records.values() for one in each}
    assert kept == set(topics)


def test_sensors_that_fill_records_become_files() -> None:
    for below in ("depth", "pointcloud", "camera/photo"):
        found = of(below, {"rows": 3})
        assert found == Content(f"cyberwave/twin/{TWIN}/{below}", AT, {}, 1)
    long = b'{"x": "' + b"y" * MAX_TEXT + b'"}'
    assert of("position", long) == Content(f"cyberwave/twin/{TWIN}/position", AT, {}, 1)
    assert of("gps", long) == Content(f"cyberwave/twin/{TWIN}/gps", AT, {}, 1)
    assert of("event", long) == Content(f"cyberwave/twin/{TWIN}/event", AT, {}, 0)


def test_workflows_are_events_and_environments_are_samples() -> None:
    found = kept(intake("cyberwave/workflow/w/execution/started", b"{}", AT, ANY))
    assert (found.lane, found.name) == ("event", "cyberwave/workflow/w/execution/started")
    assert kept(intake("cyberwave/environment/e/weather", b"{}", AT, ANY)).lane == "sample"


def test_the_prefix_of_an_environment_is_no_part_of_a_name() -> None:
    rules = Rules(prefix="dev")
    assert kept(of("position", rules=rules)).name == f"cyberwave/twin/{TWIN}/position"
    assert of("edge_health", rules=rules) == Health(TWIN)


def test_settings_say_otherwise_of_samples_and_never_of_events() -> None:
    rules = Rules(
        record={
            "cyberwave/twin/*/imu": Recording("keep"),
            "cyberwave/twin/*/depth": Recording("file", 5),
            "cyberwave/twin/*/position": Recording("off"),
            "cyberwave/twin/*/event": Recording("off"),
        }
    )
    assert (kept(of("imu", rules=rules)).lane, kept(of("imu", rules=rules)).per_second) == (
        "keep",
        0,
    )
    assert of("depth", rules=rules) == Content(f"cyberwave/twin/{TWIN}/depth", AT, {}, 5)
    assert of("position", rules=rules) is None
    assert kept(of("event", rules=rules)).lane == "event"


def joint(**body: object) -> Intake:
    return intake(f"cyberwave/joint/{TWIN}/update", json.dumps(body).encode(), AT, ANY)


def test_a_single_joint_is_a_number() -> None:
    state = {"position": 0.5, "velocity": 0.1, "effort": None}
    found = joint(
        source_type="edge",
        type="joint_state",
        joint_name="shoulder pan",
        joint_state=state,
        timestamp=1790000001,
        session_id="s",
    )
    meta = {"joint": "shoulder pan", "velocity": 0.1, "source_type": "edge", "session": "s"}
    name = f"cyberwave/joint/{TWIN}/shoulder_pan"
    assert found == Kept("sample", name, AT + NS, 0.5, meta, 40)
    late = kept(joint(joint_name="a", joint_state={"position": 1}, timestamp=5))
    assert (late.at, late.value, late.meta) == (AT, 1, {"timestamp": 5})


@pytest.mark.parametrize(
    "body",
    [
        {"j1": 0.5, "j2": 1.0},
        {"positions": {"j1": 0.5}, "velocities": {}, "timestamp": 1.0},
        {"target_positions": {"j1": 0.5}},
        {"joint_name": "a", "joint_state": {"position": None}},
        {"joint_name": "a", "joint_state": {"position": 1, "temperature": 40}},
        {"joint_name": "a", "joint_state": {"position": True}},
        {"joint_name": "a", "joint_state": {"position": 2**63}},
        {"joint_name": "a", "joint_state": {"position": 1}, "frame": "base"},
        {"joint_name": 3, "joint_state": {"position": 1}},
        {"joint_name": "", "joint_state": {"position": 1}},
        {"joint_name": "\ud800", "joint_state": {"position": 1}},
    ],
)
def test_other_words_of_joints_stay_whole(body: dict[str, object]) -> None:
    found = kept(joint(**body))
    assert found.name == f"cyberwave/joint/{TWIN}/update"
    assert json.loads(str(found.value)) == body


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_becomes_null(number: str) -> None:
    found = kept(of("position", f'{{"x": [{number}, 1.5], "t": "NaN"}}'.encode()))
    assert json.loads(str(found.value), parse_constant=pytest.fail) == {
        "x": [None, 1.5],
        "t": "NaN",
    }
    assert "format" not in found.meta


def test_what_is_no_json_is_kept_as_it_is() -> None:
    assert kept(of("raw", b"21.5 C\0")).value == "21.5 C\0"
    assert kept(of("raw", b"21.5 C")).meta == {"format": "text"}
    found = kept(of("raw", b"\xff\xfe\0"))
    assert (found.value, found.meta) == (
        base64.b64encode(b"\xff\xfe\0").decode(),
        {"format": "base64"},
    )
    assert isinstance(of("raw", b"\xff" * 50_000), Content)
    assert kept(of("raw", b"[" * 60_000)).value == "[" * 60_000


@pytest.mark.parametrize(
    ("said", "offset"),
    [
        (1790000000.25, NS // 4),
        (1790000000250, NS // 4),
        ("2026-09-21T14:13:20.25Z", NS // 4),
        ("2026-09-21T14:13:20.25", NS // 4),
        (1790003601, 0),
        (math.nan, 0),
        (math.inf, 0),
        (True, 0),
        (10**400, 0),
        ("yesterday", 0),
        ("0001-01-01T00:00:00+23:00", 0),
        (None, 0),
        ([1], 0),
    ],
)
def test_a_time_counts_when_it_is_near(said: object, offset: int) -> None:
    assert time_of(said, AT) == AT + offset


def test_names_are_what_the_store_takes() -> None:
    assert name_of("cyberwave/twin/ü b") == "cyberwave/twin/__b"
    long = name_of("x" * 300)
    assert len(long) == MAX_NAME
    assert long != name_of("x" * 299)
    assert kept(of("é")).meta == {"topic": f"cyberwave/twin/{TWIN}/é"}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
fields = st.sampled_from(["timestamp", "source_type", "joint_name", "joint_state", "session_id"])
payloads = (
    st.binary(max_size=300)
    | values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(fields, values).map(lambda value: json.dumps(value).encode())
)
rooms = st.sampled_from(["twin", "joint", "environment", "workflow", "ping", "x"])


@given(rooms, st.text(max_size=400), payloads)
def test_whatever_comes_is_kept_whole(room: str, below: str, payload: bytes) -> None:
    found = intake(f"cyberwave/{room}/{TWIN}/{below}", payload, AT, ANY)
    if not isinstance(found, Kept):
        return
    assert NAME.fullmatch(found.name)
    assert len(found.name) <= MAX_NAME
    assert abs(found.at - AT) <= 3600 * NS
    for word in found.meta.values():
        assert not isinstance(word, str) or len(word.encode()) <= MAX_META_TEXT * 4
    if not isinstance(found.value, str):
        assert not isinstance(found.value, float) or math.isfinite(found.value)
        return
    assert len(found.value.encode()) <= MAX_TEXT
    if found.meta.get("format") == "base64":
        assert base64.b64decode(found.value) == payload
    elif found.meta.get("format") == "text" or not re.search(
        rb"NaN|Infinity|e\+|ud[89a-f]", payload
    ):
        assert found.value.encode() == payload


def message(n: int, below: str, *, at: int = 0, counts: bool = False, token: int = 1) -> Message:
    topic = f"cyberwave/twin/{TWIN}/{below}"
    return Message(n, AT + at, at, token, topic, b'{"n": %d}' % n, counts=counts, gap="")


def test_what_comes_faster_is_left_out_and_counted() -> None:
    thinning = Thinning()
    messages = [message(n, "position", at=n * NS // 100) for n in range(1, 1001)]
    records = gathered("s", messages, ANY, thinning, 0).records[1, "measurement"]
    told = sum(each.missed for each in records)
    [(key, missed)] = thinning.quiet(NS)
    assert 400 <= len(records) <= 440
    assert len(records) + told + missed.count == 1000
    assert (key, missed.why) == (("s", 1, f"cyberwave/twin/{TWIN}/position"), RATE)
    assert not thinning.waiting
    assert all((each.record.meta or {}).get("thinned", 0) == each.missed for each in records)


@pytest.mark.parametrize("per_second", [0.01, 0.5, 1, 2, 3, 40, 1000])
def test_any_rate_is_kept_in_the_mean(per_second: float) -> None:
    thinning, key = Thinning(), ("s", 1, "x")
    pause = int(NS / per_second / 7)
    times = range(0, pause * 700, pause)
    kept = [at for at in times if thinning.admits(key, per_second, at)]
    at_once = max(per_second, 2)
    assert 100 <= len(kept) <= 101 + at_once
    assert kept[0] == 0


def test_a_camera_at_its_rate_is_all_kept_though_it_is_early_now_and_then() -> None:
    thinning, key = Thinning(), ("s", 1, "x")
    times = [n * NS + (-1) ** n * NS // 20 for n in range(1, 100)]
    assert all(thinning.admits(key, 1.0, at) for at in times)


def test_what_comes_unevenly_but_slowly_enough_is_all_kept() -> None:
    bursts = [message(n, "position", at=(n // 10) * NS // 4) for n in range(1, 401)]
    gps = [message(n, "gps", at=n * NS // 2) for n in range(401, 441)]
    found = gathered("s", bursts + gps, ANY, Thinning(), 0).records
    assert len(found[1, "measurement"]) == 440


def test_what_somebody_waits_for_is_never_left_out() -> None:
    messages = [message(n, "position", counts=True) for n in range(1, 1001)]
    assert len(gathered("s", messages, ANY, Thinning(), 0).records[1, "measurement"]) == 1000


def test_a_gap_of_the_gate_is_a_record_with_its_count() -> None:
    topic = f"devcyberwave/twin/{TWIN}/position"
    gaps = [
        Message(7, AT, 0, 3, topic, b"12", counts=False, gap=JOURNAL_FULL),
        Message(8, AT, 0, 3, "", b"5", counts=False, gap=SHARE_FULL),
    ]
    found = gathered("s", gaps, Rules("dev"), Thinning(), 0).records[3, "gap"]
    assert [(each.n, each.lane, each.record.name, each.record.value) for each in found] == [
        (7, "event", f"cyberwave/twin/{TWIN}/position", 12),
        (8, "event", "cyberwave", 5),
    ]
    assert [(each.record.meta or {})["cause"] for each in found] == [JOURNAL_FULL, SHARE_FULL]
    assert all(each.counts for each in found)


belows = st.sampled_from(["position", "gps", "event", "depth", "edge_health", "command", "alert"])


@given(st.lists(st.tuples(belows, st.integers(1, 3), st.integers(0, NS // 5))))
def test_every_message_is_kept_counted_or_told_on_and_numbers_rise(
    said: list[tuple[str, int, int]],
) -> None:
    at, messages = 0, []
    for n, (below, token, pause) in enumerate(said, 1):
        at += pause
        messages.append(message(n, below, at=at, token=token, counts=below == "event"))
    thinning = Thinning()
    found = gathered("s", messages, ANY, thinning, 0)
    groups = found.records.values()
    for group in groups:
        numbers = [each.n for each in group]
        assert numbers == sorted(set(numbers))
    every = [each for group in groups for each in group]
    left_out = sum(each.missed for each in [*every, *found.files])
    left_out += sum(missed.count for _, missed in thinning.quiet(NS))
    relayed = sum(each.topic.endswith("alert") for each in messages)
    total = len(every) + len(found.files) + len(found.told) + left_out + relayed
    assert total == len(messages)


def test_sessions_are_apart_by_run_publisher_and_kind() -> None:
    kinds: list[Kind] = ["event", "measurement"]
    made = {session_of(run, token, kind) for run in "ab" for token in (1, 2) for kind in kinds}
    assert len(made) == 8
    assert {len(each) for each in made} == {SPARSE_SESSION}
