"""Workload files: what is understood, and that every wrong field is named with its line."""

import re
from pathlib import Path

import pytest
import yaml

from skerry.core import spec_text
from skerry.core.spec_rules import SIGNALS
from skerry.core.specs import check_set, check_spec, parse_workloads, to_document
from skerry.kit.errors import InvalidInput
from skerry.wire.codec import decode, encode
from skerry.wire.workload import (
    ContainerSpec,
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
    WasmSpec,
    WorkerSpec,
    WorkloadSpec,
)

ROOT = Path(__file__).parents[2]
HEAD = "kind: workload\nname: a\nprocess: {command: [x]}\n"
A_NAME = "use at most 63 lower-case letters, digits and «-», first and last a letter or digit"


def parse_one(text: str) -> WorkloadSpec:
    [spec] = parse_workloads(text, "w.yaml")
    return spec


def complaints(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_workloads(text, "w.yaml")
    return str(caught.value).splitlines()


def test_every_field_is_read_in_the_units_of_the_wire() -> None:
    spec = parse_one("""
kind: workload
name: host-sensors
on: {labels: {site: lab, floor: 3}}
runtime: process
process: {command: [python, -m, x, 1.10, on], directory: /srv}
env: {INTERVAL: 1s, VERSION: 1.10, EMPTY: "", FLAG: true}
resources: {cpu: 0.5, memory: 64MB, open_files: 256}
restart: {policy: on-failure, delay: 250ms, max_delay: 1m, reset_after: 2m, attempts: 3, window: 1h}
stop: {signal: SIGINT, grace: 0}
ready: {exec: [test, -f, /srv/x], interval: 2s, timeout: 1s}
depends_on: {warm-up: succeeded}
on_disconnect: stop after 10m
streams: {"host.*": keep, "*": sample}
logs: {max_size: 1MiB, files: 2}
update: {max_unavailable: 25%, min_healthy: 5s, healthy_within: 1h, pause_on_failure: false, lock_at_most: 0s}
overrides:
  - {on: {node: n1}, env: {A: 1.10}, resources: {memory: 2MB}, on_disconnect: stop after 1m}
  - {on: {labels: {site: lab}}, process: {directory: /srv}, stop: {grace: 90s}}
""")
    assert spec == WorkloadSpec(
        name="host-sensors",
        on=Selector(labels={"site": "lab", "floor": "3"}),
        process=ProcessSpec(command=["python", "-m", "x", "1.10", "on"], directory="/srv"),
        env={"INTERVAL": "1s", "VERSION": "1.10", "EMPTY": "", "FLAG": "true"},
        resources=Resources(cpu=0.5, memory=64_000_000, open_files=256),
        restart=Restart(
            policy="on-failure", delay=0.25, max_delay=60.0, reset_after=120.0, attempts=3, window=3600.0
        ),
        stop=Stop(signal="SIGINT", grace=0.0),
        ready=Ready(exec=["test", "-f", "/srv/x"], interval=2.0, timeout=1.0),
        depends_on={"warm-up": "succeeded"},
        on_disconnect=OnDisconnect(stop_after=600.0),
        streams={"host.*": "keep", "*": "sample"},
        logs=Logs(max_size=1 << 20, files=2),
        update=Update(
            max_unavailable="25%", min_healthy=5.0, healthy_within=3600.0, pause_on_failure=False, lock_at_most=0.0
        ),
        overrides=[
            Override(
                on=Selector(node="n1"),
                fields={
                    "env": {"A": "1.10"},
                    "resources": {"memory": 2_000_000},
                    "on_disconnect": {"stop_after": 60.0},
                },
            ),
            Override(
                on=Selector(labels={"site": "lab"}),
                fields={"process": {"directory": "/srv"}, "stop": {"grace": 90.0}},
            ),
        ],
    )  # fmt: skip
    assert list(spec.streams) == ["host.*", "*"]


def test_sections_without_a_value_are_defaults() -> None:
    assert parse_one(f"{HEAD}on_disconnect: run\n") == parse_one(HEAD)
    text = f"{HEAD}env:\nresources:\nrestart:\non:\n"
    assert parse_one(text) == WorkloadSpec(name="a", process=ProcessSpec(command=["x"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stop: {with: x}", "4: unknown field «with» in stop: known are: grace, signal"),
        ("nmae: b", "4: unknown field «nmae»: did you mean «name»?"),
        ("restart: {polcy: never}", "4: unknown field «polcy» in restart: did you mean «policy»?"),
        ("restart: always", "4: «restart» must be a map of fields, this is a text"),
        ("restart: {policy: allways}", "4: restart.policy: unknown word «allways»: did you mean «always»?"),
        ("restart: {policy: {a: b}}", "4: restart.policy must be a text, this is a map"),
        ("restart: {policy: [always]}", "4: restart.policy must be a text, this is a list"),
        ("restart: {attempts: 0}", "4: restart.attempts: 0 is out of range: at least 1"),
        ("restart: {attempts: 1001}", "4: restart.attempts: 1001 is out of range: at most 1000"),
        ("restart: {attempts: 2.5}", "4: restart.attempts must be a whole number, this is a number"),
        ("restart: {attempts: true}", "4: restart.attempts must be a whole number, this is «true»"),
        ("restart: {attempts: 99999999999999999999}", "4: restart.attempts: 99999999999999999999 is too large"),
        ("restart: {delay: 1ms}", "4: restart.delay: 1ms is out of range: at least 10ms"),
        ("restart: {delay: 5 parsecs}", "4: restart.delay: «5 parsecs» is not a duration: write a number with ms, s, m, h, d or w"),
        ("restart: {delay: [5]}", "4: restart.delay must be a duration, this is a list"),
        ("restart: {delay: 1m, max_delay: 1s}", "4: restart.max_delay: 1s is less than restart.delay, 1m"),
        ("restart: {window: 0}", "4: restart.window: 0s is out of range: at least 1s"),
        ("restart: {reset_after: 53w}", "4: restart.reset_after: 53w is out of range: at most 365d"),
        ("stop: {grace: -1s}", "4: stop.grace: «-1s» is not a duration: write a number with ms, s, m, h, d or w"),
        ("stop: {signal: SIGKILL}", "4: stop.signal: unknown word «SIGKILL»: did you mean «SIGINT»?"),
        ("resources: {cpu: 0}", "4: resources.cpu: 0 is out of range: at least 0.001"),
        ("resources: {cpu: half}", "4: resources.cpu must be a number, this is a text"),
        ("resources: {memory: 12}", "4: resources.memory: 12B is out of range: at least 1MiB"),
        ("resources: {memory: lots}", "4: resources.memory: «lots» is not a size: write a number with B, KB, MB, GB, KiB, MiB or GiB"),
        ("resources: {open_files: 3}", "4: resources.open_files: 3 is out of range: at least 16"),
        ("runtime: container\ncontainer: {image: x}", "3: «process» does not belong to runtime «container»: remove one of them"),
        ("runtime: wasm\nwasm: {module: a.wasm}", "3: «process» does not belong to runtime «wasm»: remove one of them"),
        ("runtime: docker", "4: unknown runtime «docker», this build knows: process, container, wasm"),
        ("env: {A: }", '4: env.A has no value: write "" for an empty text'),
        ("env: {A: [1]}", "4: env.A must be a text, this is a list"),
        ("env: [A=1]", "4: env must be a map of texts, this is a list"),
        ("env: {1A: x}", "4: env: «1A» is not a variable's name: use letters, digits and «_», not first a digit"),
        ("env: {SKERRY_NODE: x}", "4: env: «SKERRY_NODE» belongs to the node: choose a name that does not begin with SKERRY_"),
        ('env: {A: "\\0"}', "4: env.A holds a NUL character: remove it"),
        (f"env: {{A: {'x' * 131_072}}}", "4: env.A is longer than 131071 bytes: put it into a file"),
        ("on: {node: Lab}", f"4: on.node: «Lab» is not a name: {A_NAME}"),
        ("on: {node: n, labels: {a: b}}", "4: on takes either «node» or «labels», this has both"),
        ("on: {labels: {-a: b}}", "4: on.labels: «-a» is not a label's key: use at most 63 letters, digits, «_», «.», «-» and «/», first and last a letter or digit"),
        (f"on: {{labels: {{a: {'x' * 64}}}}}", "4: on.labels: the value of label «a» is longer than 63 characters"),
        ("ready: {}", "4: ready needs exactly one of exec, http, tcp, value, health; this has none"),
        ("ready: {exec: [x], tcp: 80}", "4: ready needs exactly one of exec, http, tcp, value, health; this has exec, tcp"),
        ("ready: {tcp: 0}", "4: ready.tcp: 0 is out of range: at least 1"),
        ("ready: {tcp: http}", "4: ready.tcp must be a whole number, this is a text"),
        ("ready: {htp: x}", "4: unknown field «htp» in ready: did you mean «http»?"),
        ("ready: {exec: test -f x}", "4: ready.exec must be a list, write: [test, -f, x]"),
        ("ready: {exec: 'say \"x'}", '4: ready.exec must be a list, write: [say, "\\"x"]'),
        ("ready: {exec: []}", "4: ready.exec is empty: write the program and its arguments"),
        ("ready: {http: localhost}", "4: ready.http: «localhost» is not a URL: write for example http://127.0.0.1:8080/healthz"),
        ("ready: {value: 'a b'}", "4: ready.value: «a b» is not a pattern: use letters, digits, «_», «.», «-», «/» and «*» for any run"),
        ("depends_on: {a: running}", "4: depends_on: «a» cannot depend on itself"),
        ("depends_on: {b: done}", "4: depends_on.b: unknown word «done»: known are: ready, running, succeeded"),
        ("depends_on: {B: ready}", f"4: depends_on: «B» is not a name: {A_NAME}"),
        ("depends_on: [b]", "4: depends_on must be a map of name: running|ready|succeeded, this is a list"),
        ("on_disconnect: stop", "4: on_disconnect is not understood: write «run», or «stop after 10m»"),
        ("on_disconnect: {stop_after: 1m}", "4: on_disconnect is not understood: write «run», or «stop after 10m»"),
        ("on_disconnect: stop after soon", "4: on_disconnect: «soon» is not a duration: write a number with ms, s, m, h, d or w"),
        ("on_disconnect: stop after 0s", "4: on_disconnect.stop_after: 0s is out of range: at least 1s"),
        ("streams: {'a b': keep}", "4: streams: «a b» is not a pattern: use letters, digits, «_», «.», «-», «/» and «*» for any run"),
        ("streams: {a: kept}", "4: streams.a: unknown word «kept»: did you mean «keep»?"),
        ("logs: {files: 0}", "4: logs.files: 0 is out of range: at least 1"),
        ("update: {max_unavailable: 0}", "4: update.max_unavailable: «0» is not understood: write a number of nodes from 1 on, or a share of them from 1% to 100%"),
        ("update: {max_unavailable: 101%}", "4: update.max_unavailable: «101%» is not understood: write a number of nodes from 1 on, or a share of them from 1% to 100%"),
        ("update: {max_unavailable: [1]}", "4: update.max_unavailable must be a whole number, this is a list"),
        ("update: {min_healthy: 1m, healthy_within: 30s}", "4: update.healthy_within: 30s is less than update.min_healthy, 1m"),
        ("overrides: [{env: {A: b}}]", "4: missing field «overrides[0].on»"),
        ("overrides: [{on: {}, env: {A: b}}]", "4: overrides[0]: on says no node: write «node» or «labels»"),
        ("overrides:\n- on: {node: n1}\n  isolation: strict", "6: unknown field «isolation» in overrides[0]: known are: container, env, logs, on, on_disconnect, process, ready, resources, restart, stop, streams, wasm"),
        ("overrides:\n- on: {node: n1}\n  env:\n    A: b\n    1A: c", "8: overrides[0]: env: «1A» is not a variable's name: use letters, digits and «_», not first a digit"),
        ("overrides:\n- on: {node: n1}\n- on: {node: n2}\n  resources: {memory: 1KB}", "7: overrides[1]: resources.memory: 1KB is out of range: at least 1MiB"),
        ("overrides:\n- on: {node: n1}\n  restart:\n    max_delay: 100ms", "7: overrides[0]: restart.max_delay: 100ms is less than restart.delay, 500ms"),
        ("overrides:\n- on: {node: n1}\n  container: {user: me}", "6: overrides[0]: «container» does not belong to runtime «process»: remove it"),
        ("overrides:\n- on: {node: n1}\n  logs: {files: many}", "6: overrides[0].logs.files must be a whole number, this is a text"),
        ("logs: {max_size: 1KB}", "4: logs.max_size: 1KB is out of range: at least 4KiB"),
    ],
    ids=lambda value: value[:32],
)  # fmt: skip
def test_one_wrong_field(text: str, message: str) -> None:
    assert complaints(HEAD + text) == [f"w.yaml:{message}"]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("kind: workload", ["1: missing field «name»", "1: missing field «process»"]),
        ("name: a\nprocess: {command: [x]}", ["1: missing field «kind»"]),
        ("kind: workloads\nname: a\nprocess: {command: [x]}", ["1: unknown kind «workloads»: did you mean «workload»?"]),
        ("kind: workload\nname: a\nprocess:", ["3: missing field «process.command»"]),
        ("kind: workload\nname: a\nprocess: {command: []}", ["3: process.command is empty: write the program and its arguments"]),
        ("kind: workload\nname: a\nprocess: {command: ['']}", ["3: process.command is empty: write the program and its arguments"]),
        ("kind: workload\nname: a\nprocess: {command: python -m 'a b'}", ['3: process.command must be a list, write: [python, -m, "a b"]']),
        ("kind: workload\nname: a\nprocess: {command: [x, [y]]}", ["3: process.command[1] must be a text, this is a list"]),
        ("kind: workload\nname: a\nprocess: {command: [x], directory: srv}", ["3: process.directory: «srv» is not an absolute path: begin it with «/»"]),
        ("kind: workload\nname: Host Sensors\nprocess: {command: [x]}", [f"2: name: «Host Sensors» is not a name: {A_NAME}"]),
        (f"kind: workload\nname: {'a' * 64}\nprocess: {{command: [x]}}", [f"2: name: «{'a' * 64}» is not a name: {A_NAME}"]),
        ("kind: workload\nname: [a]\nprocess: {command: [x]}", ["2: name must be a text, this is a list"]),
        ("- kind: workload", ["1: the document must be a map of fields, this is a list"]),
        ("just words", ["1: the document must be a map of fields, this is a text"]),
    ],
    ids=lambda value: str(value)[:32],
)  # fmt: skip
def test_wrong_from_the_start(text: str, messages: list[str]) -> None:
    assert complaints(text) == [f"w.yaml:{message}" for message in messages]


def test_every_wrong_field_of_every_document_is_listed_in_order() -> None:
    text = (
        "kind: workload\nname: A\nprocess:\n  comand: [x]\nrestart: {attempts: 0}\nready: {tcp: 0}\n"
        f"---\n{HEAD}stop: 5\n"
    )
    assert [line.split(":")[1] for line in complaints(text)] == ["2", "3", "4", "5", "6", "11"]


def test_a_flood_of_problems_is_cut() -> None:
    lines = complaints(HEAD + "".join(f"x{n}: 1\n" for n in range(500)))
    assert len(lines) == 101
    assert lines[-1] == "… and 400 more"


def test_strangers_words_stay_in_their_line() -> None:
    [line] = complaints(HEAD + '"a\\e[2J\\nb": 1')
    assert line.startswith("w.yaml:4: unknown field «a\ufffd[2J\ufffdb»: known are:")


def test_workloads_of_one_file_are_checked_against_each_other() -> None:
    def document(name: str, needs: str) -> str:
        return f"kind: workload\nname: {name}\nprocess: {{command: [x]}}\ndepends_on: {{{needs}}}\n"

    twice = document("a", "b: ready") + "---\n" + document("a", "")
    assert complaints(twice) == ["w.yaml:7: workload «a» is already described in line 2"]
    circle = "---\n".join(
        [document("z", "a: ready"), document("a", "b: ready"), document("b", "c: ready"), document("c", "a: ready")]
    )  # fmt: skip
    assert complaints(circle) == ["w.yaml:9: depends_on goes in a circle: a → b → c → a"]
    assert len(parse_workloads(document("a", "b: ready") + "---\n" + document("b", ""), "f")) == 2


def test_many_ways_to_the_same_workload_are_no_circle_and_take_no_time() -> None:
    layers = [
        WorkloadSpec(
            name=f"{side}{depth}",
            process=ProcessSpec(command=["x"]),
            depends_on={f"a{depth + 1}": "ready", f"b{depth + 1}": "ready"},
        )
        for depth in range(60)
        for side in "ab"
    ]
    assert check_set(layers) == []


def test_an_empty_file_is_an_error() -> None:
    assert complaints("# nothing\n") == ["w.yaml: cannot find a workload in it: the file is empty"]


def test_api_input_is_judged_by_the_same_rules() -> None:
    spec = WorkloadSpec(
        name="A",
        process=ProcessSpec(command=[]),
        env={"A": "\0"},
        stop=Stop(grace=-1.0),
        restart=Restart(delay=float("inf")),
        ready=Ready(tcp=1, value="x"),
    )
    assert check_spec(spec) == [
        f"name: «A» is not a name: {A_NAME}",
        "process.command is empty: write the program and its arguments",
        "env.A holds a NUL character: remove it",
        "restart.delay: inf is out of range: at most 365d",
        "stop.grace: -1s is out of range: at least 0s",
        "ready needs exactly one of exec, http, tcp, value, health; this has tcp, value",
    ]
    fine = WorkloadSpec(name="a", process=ProcessSpec(command=["x"]))
    assert check_spec(fine) == []
    assert check_set([fine, fine]) == ["workload «a» is already described"]


@pytest.mark.parametrize(
    ("wasm", "message"),
    [
        ("{args: [x]}", "3: missing field «wasm.module»"),
        ("{module: ../x.wasm}", "3: wasm.module: «../x.wasm» is no file's path: write it from «/», or relative to the workload's own directory"),
        ("{module: a, mode: once, input: x}", "3: wasm.input: mode «once» gets no records: use «worker» or «on-record»"),
        ("{module: a, mode: on-record}", "3: missing field «wasm.input»: mode «on-record» runs for each record that fits it"),
        ("{module: a, mode: worker, input: a b}", "3: wasm.input: «a b» is not a pattern: use letters, digits, «_», «.», «-», «/» and «*» for any run"),
        ("{module: a, mode: often}", "3: wasm.mode: unknown word «often»: known are: on-record, once, worker"),
        ("{module: a, directories: [data]}", "3: wasm.directories[0]: «data» is not understood: write /srv/data:/data:ro"),
        ("{module: a, directories: ['/a:/b:x']}", "3: wasm.directories[0]: «/a:/b:x» is not understood: write /srv/data:/data:ro"),
        ("{module: a, directories: ['/a:/b', '/c:/b/:ro']}", "3: wasm.directories[1]: «/c:/b/:ro»: wasm.directories[0] is at /b/ already: choose another place inside"),
        ("{module: a, deadline: 1ms}", "3: wasm.deadline: 1ms is out of range: at least 10ms"),
        ("{module: a, fuel: 0}", "3: wasm.fuel: 0 is out of range: at least 1"),
        (f"{{module: a, args: [{'x' * 20_000}]}}", "3: wasm.args and wasm.directories are longer than 16384 bytes: put them into a file"),
    ],
    ids=lambda value: value[:32],
)  # fmt: skip
def test_a_wrong_module_section(wasm: str, message: str) -> None:
    assert complaints(f"kind: workload\nname: a\nwasm: {wasm}") == [f"w.yaml:{message}"]


def test_a_module_that_runs_once_has_no_successor_beside_it() -> None:
    text = (
        "kind: workload\nname: a\nwasm: {module: m.wasm, mode: MODE}\nupdate: {strategy: overlap}"
    )
    assert parse_one(text.replace("MODE", "worker")).update.strategy == "overlap"
    assert complaints(text.replace("MODE", "once")) == [
        (
            "w.yaml:4: update.strategy: «overlap» is for what stays, and wasm.mode «once» ends by itself: "
            "use «worker» or «on-record», or strategy «recreate»"
        )
    ]


def test_a_module_is_written_and_read_back() -> None:
    module = WasmSpec(
        module="m.wasm",
        args=["a b"],
        directories=["/srv:/data:ro"],
        mode="on-record",
        input="env.*",
        output="records",
        deadline=0.5,
        fuel=1_000_000,
    )
    spec = WorkloadSpec(name="a", runtime="wasm", wasm=module)
    written = to_document(spec)
    assert written["wasm"] == {
        "module": "m.wasm",
        "args": ["a b"],
        "directories": ["/srv:/data:ro"],
        "mode": "on-record",
        "input": "env.*",
        "output": "records",
        "deadline": "500ms",
        "fuel": 1_000_000,
    }
    assert parse_one(yaml.safe_dump(written)) == spec
    assert parse_one("kind: workload\nname: a\nwasm: {module: m.wasm}").runtime == "wasm"


def test_signals_are_those_of_the_wire() -> None:
    for signal in SIGNALS:
        decode(encode({"signal": signal}), Stop, "stop")
    assert set(SIGNALS) == set(re.findall(r"SIG\w+", str(Stop.__annotations__["signal"])))


def test_the_reference_page_is_right() -> None:
    """Its examples are accepted, it has every field, and its defaults are the real ones."""
    page = (ROOT / "docs/reference/workload.md").read_text()
    for example in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        parse_one(example)
    for name in ("first-fleet.yaml", "wasm.yaml"):
        assert parse_workloads((ROOT / "examples" / name).read_text(), name)
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \|[^|]*\| ([^|]+) \|", page, re.MULTILINE))
    bare = WorkloadSpec(
        name="a",
        process=ProcessSpec(command=["x"]),
        container=ContainerSpec(image="x"),
        wasm=WasmSpec(module="x"),
        worker=WorkerSpec(scripts="/"),
        ready=Ready(),
    )
    defaults = dict(spec_text._leaves(spec_text._written(bare)))
    sections = {"name", "process.command", "container.image", "wasm.module", "worker.scripts"}
    sections |= {"runtime"}
    assert {path for path in defaults if path not in rows} == set()
    for path in defaults.keys() - sections:
        assert rows[path] == f"`{defaults[path]}`", path
    assert set(WorkloadSpec.__struct_fields__) == {path.split(".")[0] for path in rows} - {"kind"}
