"""The section «logs» of a workload's file."""

import pytest
import yaml

from skerry.core.specs import parse_workloads, to_document
from skerry.kit.errors import InvalidInput
from skerry.wire.workload import Logs

HEAD = "kind: workload\nname: a\nprocess: {command: [true]}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logs: {max_age: 5s}", "4: logs.max_age: 5s is out of range: at least 1m"),
        ("logs: {ship: loud}", "4: logs.ship: unknown word «loud»: known are: all, critical, debug, error, info, warning"),
        ("logs: {redact: ['*']}", "4: logs.redact: «*» must begin with at least 2 characters that are no «*», such as «sk-*»"),
        ("logs: {redact: ['sk-**']}", "4: logs.redact: «sk-**»: one «*» is enough"),
        ("logs: {redact: ['sk-* x']}", "4: logs.redact: «sk-* x»: what «*» stands for ends with its word, so no blank can follow it"),
    ],
)  # fmt: skip
def test_one_wrong_field(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as found:
        parse_workloads(HEAD + text, "w.yaml")
    assert str(found.value) == f"w.yaml:{message}"


@pytest.mark.parametrize(
    ("written", "ship"),
    [("true", "all"), ("all", "all"), ("false", None), ("warning", "warning")],
)
def test_what_is_shipped(written: str, ship: str | None) -> None:
    (spec,) = parse_workloads(f"{HEAD}logs: {{ship: {written}}}", "w.yaml")
    assert spec.logs.ship == ship


def test_everything_that_can_be_said() -> None:
    said = "logs: {max_size: 1MiB, files: 2, max_age: 7d, redact: ['sk-*'], redact_secrets: false, ship: debug}"
    (spec,) = parse_workloads(HEAD + said, "w.yaml")
    assert spec.logs == Logs(
        max_size=1 << 20,
        files=2,
        max_age=604800.0,
        redact=["sk-*"],
        redact_secrets=False,
        ship="debug",
    )


def test_what_one_node_has_otherwise_is_written_as_it_was() -> None:
    said = "overrides:\n- on: {node: n1}\n  logs: {max_age: 7d, redact: ['sk-*'], ship: true}\n"
    (spec,) = parse_workloads(HEAD + said, "w.yaml")
    document = yaml.safe_dump(to_document(spec), sort_keys=False)
    assert "max_age: 1w" in document
    assert parse_workloads(document, "w.yaml") == [spec]
