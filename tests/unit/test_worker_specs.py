"""The section «worker» of a workload file."""

import pytest

from skerry.core.specs import check_spec, parse_workloads, to_document
from skerry.kit.errors import InvalidInput
from skerry.wire.workload import WasmSpec, WorkerSpec, WorkloadSpec


def parse_one(text: str) -> WorkloadSpec:
    [spec] = parse_workloads(text, "w.yaml")
    return spec


def complaints(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_workloads(text, "w.yaml")
    return str(caught.value).splitlines()


WORKER = "kind: workload\nname: a\nworker: {scripts: /srv/w}\n"


def test_a_worker_group_needs_no_program_of_its_own() -> None:
    spec = parse_one(WORKER)
    assert (spec.runtime, spec.process) == ("process", None)
    assert spec.worker == WorkerSpec("/srv/w", "*.py", 10.0)
    assert to_document(spec) == {"kind": "workload", "name": "a", "worker": {"scripts": "/srv/w"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("worker: {}", "w.yaml:3: missing field «worker.scripts»"),
        (
            "worker: {scripts: srv}",
            "w.yaml:3: worker.scripts: «srv» is not an absolute path: begin it with «/»",
        ),
        (
            "worker: {scripts: '/a:b'}",
            "w.yaml:3: worker.scripts: «/a:b» holds «:»: rename the directory",
        ),
        (
            "worker: {scripts: /w, pattern: 'x/*.py'}",
            "w.yaml:3: worker.pattern: «x/*.py» names no files of a directory: write *.py",
        ),
        (
            "worker: {scripts: /w, reload_delay: 500ms}",
            "w.yaml:3: worker.reload_delay: 500ms is out of range: at least 1s",
        ),
        (
            "worker: {scripts: /w, script: /x}",
            "w.yaml:3: unknown field «script» in worker: did you mean «scripts»?",
        ),
        (
            "runtime: container\nworker: {scripts: /w}",
            "w.yaml:1: missing field «container»",
        ),
    ],
)
def test_a_wrong_worker_group_is_named(text: str, expected: str) -> None:
    assert complaints(f"kind: workload\nname: a\n{text}\n") == [expected]


def test_a_module_has_no_scripts() -> None:
    spec = WorkloadSpec(
        name="a", runtime="wasm", wasm=WasmSpec(module="m.wasm"), worker=WorkerSpec("/w")
    )
    assert check_spec(spec) == ["worker needs runtime «process» or «container», this has «wasm»"]
