"""Specs of any kind: what is written reads back the same, and nothing but InvalidInput comes of any document."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.core.spec_rules import SIGNALS
from skerry.core.specs import check_spec, parse_workloads, to_document
from skerry.kit.errors import InvalidInput
from skerry.wire.workload import (
    Logs,
    OnDisconnect,
    Override,
    ProcessSpec,
    Ready,
    Resources,
    Restart,
    Selector,
    Stop,
    Update,
    WorkloadSpec,
)


def parse_one(text: str) -> WorkloadSpec:
    [spec] = parse_workloads(text, "w.yaml")
    return spec


def complaints_or_none(text: str) -> list[str]:
    try:
        parse_workloads(text, "w.yaml")
    except InvalidInput as error:
        return str(error).splitlines()
    return []


# Texts that a new process can be given, and a YAML file can hold.
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
seconds = st.floats(0.01, 365 * 86400.0) | st.integers(1, 86400).map(float)
patterns = st.from_regex(r"[a-z*][a-z.*]{0,8}", fullmatch=True)
commands = st.lists(texts, min_size=1, max_size=4).filter(lambda words: words[0] != "")
ready = st.one_of(
    st.builds(Ready, exec=commands, interval=seconds),
    st.builds(Ready, http=st.just("https://example.org/x?y=1#z")),
    st.builds(Ready, tcp=st.integers(1, 65535), timeout=seconds),
    st.builds(Ready, value=patterns),
)
places = st.builds(Selector, node=names) | st.builds(
    Selector, labels=st.dictionaries(names, texts, min_size=1)
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "env": st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), texts, max_size=2),
        "process": st.fixed_dictionaries({"command": commands}),
        "stop": st.fixed_dictionaries({"grace": st.just(0.0) | seconds}),
        "resources": st.fixed_dictionaries({"memory": st.integers(1 << 20, 1 << 50)}),
        "on_disconnect": st.fixed_dictionaries({"stop_after": st.floats(1, 86400.0)}) | st.just({}),
        "logs": st.fixed_dictionaries({"files": st.integers(1, 100)}),
        "streams": st.dictionaries(patterns, st.sampled_from(["keep", "sample"]), max_size=2),
    },
)
specs = st.builds(
    WorkloadSpec,
    name=names,
    process=st.builds(ProcessSpec, command=commands, directory=st.none() | texts.map(lambda t: f"/{t}")),
    on=st.builds(Selector, node=st.none() | names) | st.builds(Selector, labels=st.dictionaries(names, texts)),
    env=st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), texts, max_size=3),
    resources=st.builds(
        Resources,
        cpu=st.none() | st.floats(0.001, 4096),
        memory=st.none() | st.integers(1 << 20, 1 << 50),
        open_files=st.none() | st.integers(16, 1 << 20),
    ),
    restart=st.builds(
        Restart,
        policy=st.sampled_from(["never", "on-failure", "always"]),
        delay=st.floats(0.01, 10.0),
        max_delay=st.floats(10.0, 86400.0),
        reset_after=st.floats(1, 365 * 86400.0),
        attempts=st.integers(1, 1000),
        counts=st.sampled_from(["failures", "exits"]),
    ),
    stop=st.builds(Stop, signal=st.sampled_from(SIGNALS), grace=st.just(0.0) | seconds),
    ready=st.none() | ready,
    depends_on=st.dictionaries(names.map(lambda n: f"x{n}"), st.sampled_from(["running", "ready", "succeeded"]), max_size=2),
    on_disconnect=st.builds(OnDisconnect, stop_after=st.none() | st.floats(1, 86400.0)),
    streams=st.dictionaries(patterns, st.sampled_from(["keep", "sample"]), max_size=3),
    logs=st.builds(
        Logs,
        max_size=st.integers(4096, 1 << 40),
        files=st.integers(1, 100),
        max_age=st.none() | st.integers(60, 10**6).map(float),
        redact=st.lists(st.sampled_from(["sk-*", "a b", "id=*;"]), max_size=2),
        redact_secrets=st.booleans(),
        ship=st.sampled_from([None, "all", "warning"]),
    ),
    update=st.builds(
        Update,
        max_unavailable=st.none() | st.integers(1, 99) | st.integers(1, 100).map("{}%".format),
        min_healthy=st.just(0.0) | st.floats(0.01, 60),
        healthy_within=st.floats(60, 86400),
        pause_on_failure=st.booleans(),
    ),
    overrides=st.lists(st.builds(Override, on=places, fields=parts), max_size=2),
).filter(lambda spec: spec.name not in spec.depends_on)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(specs)
def test_what_is_written_reads_back_the_same(spec: WorkloadSpec) -> None:
    written = yaml.safe_dump(to_document(spec), sort_keys=False, allow_unicode=True)
    read = parse_one(written)
    assert read == spec
    assert list(read.streams) == list(spec.streams)
    assert check_spec(spec) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["name", "command", "delay", "labels", "exec", "a"]) | st.text(max_size=3), inner, max_size=3
    ),
    max_leaves=10,
)  # fmt: skip
fields = st.sampled_from(
    ["kind", "name", "on", "runtime", "process", "container", "wasm", "env", "resources", "restart", "stop", "ready", "depends_on", "on_disconnect", "streams", "logs"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(fields, anything))
def test_nothing_but_invalid_input_is_raised(document: dict[str, object]) -> None:
    text = yaml.safe_dump(
        {"kind": "workload", "name": "a", "process": {"command": ["x"]}} | document
    )
    assert all(
        line.startswith(("w.yaml:", "cannot read w.yaml", "… and "))
        for line in complaints_or_none(text)
    )
