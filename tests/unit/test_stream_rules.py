"""Rules for names: which one holds, what is wrong with some, and what `config check` says of them."""

from pathlib import Path

import pytest

from skerry.cli.config_tables import note
from skerry.cli.main import main
from skerry.core.config import SourceFile, Sources, load
from skerry.core.stream_rules import Rule, Rules
from skerry.core.stream_settings import stream_rules
from skerry.hub import settings as hub
from skerry.kit.errors import InvalidInput
from skerry.node import settings as node

DAY = 86_400.0
RULES = Rules.of([Rule("*", keep=1), Rule("cam.*", keep=2), Rule("cam.front.*", keep=3), Rule("cam.front", keep=4), Rule("*.jpg", keep=5)])  # fmt: skip


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("env.x", 1),
        ("cam.back", 2),
        ("cam.front.1", 3),
        ("cam.front", 4),
        ("door.jpg", 5),
        ("cam.x.jpg", 2),  # both say four characters: the first one holds
    ],
)
def test_the_rule_that_says_most_holds(name: str, keep: float) -> None:
    rule = RULES.find(name)
    assert rule is not None
    assert rule.keep == keep


def test_no_rule_no_answer() -> None:
    assert Rules.of([Rule("cam.*", keep=1)]).find("env.x") is None


def configured(text: str) -> dict[str, object]:
    setting = stream_rules("the age of its kind")
    found = load([setting], Sources(files=(SourceFile("hub.yaml", text),)))
    each = found["retention.streams"]
    return {"value": each.value, "note": note("hub", each)}


def test_check_says_what_holds_instead_of_what() -> None:
    text = 'retention: {streams: [{name: "cam.*", keep: 7d, bytes: 500MB}, {name: cam.front, bytes: 1GB}]}'
    found = configured(text)
    assert found["value"] == [
        {"name": "cam.*", "keep": 7 * DAY, "bytes": 500_000_000},
        {"name": "cam.front", "bytes": 10**9},
    ]
    assert found["note"] == (
        "«cam.*» for 1w instead of the age of its kind; «cam.*» gives way to «cam.front»"
    )


def test_people_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text('retention: {streams: [{name: "cam.*", keep: 7d}, {name: a, keep: 1d}]}')
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out.count("«cam.*» for 1w instead of") == 1


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("{name: a}", "the rule for «a» says nothing: give it keep or bytes"),
        ("{name: a, keep: 1d}, {name: a, bytes: 1MB}", "there are two rules for «a»"),
        ("{keep: 1d}", "missing field «retention.streams[0].name»"),
        ("{name: a, keep: 1s}", "1s is out of range: at least 1m"),
        ("{name: a b, keep: 1d}", "«a b» fits no name of a record"),
        ('{name: "", keep: 1d}', "«» fits no name of a record"),
        ("{name: a, kep: 1d}", "did you mean «keep»"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(rule: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=r"hub\.yaml:2: ") as refused:
        configured(f"retention:\n  streams: [{rule}]\n")
    assert told in str(refused.value)


def test_both_settings_take_them(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("retention: {streams: [{name: cam.*, keep: 7d}]}\n")
    rules = [Rule("cam.*", keep=7 * DAY)]
    found = node.find_settings([file], options={"data_dir": str(tmp_path)}, environment={})
    assert node.node_settings(found, {}).retention.streams == rules
    assert hub.hub_settings(hub.find_settings([file], environment={})).retention.streams == rules
