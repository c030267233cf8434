"""The five files of the edge-infrastructure document: they load as they are, and each misspelt name is told."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.cli.main import main
from skerry.core.yaml_lines import read_documents
from skerry.hub import settings as hub
from skerry.kit.errors import InvalidInput
from skerry.node import settings as node

SAMPLES = Path(__file__).parents[1] / "fixtures" / "documented"
AGENT = SAMPLES / "edge-agent-config.yaml"
FILES = sorted(SAMPLES.glob("*.yaml"))
SETTINGS = [file for file in FILES if file != AGENT]

Checked = dict[tuple[str, str], dict[str, object]]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> Checked:
    """What `config check` answers to a program, by kind and setting."""
    assert main(["config", "check", *words, "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    return {(row["kind"], row["setting"]): row for row in rows}


def names_in(file: Path) -> Iterator[tuple[str, int]]:
    """Every name in the file that has a value, with its line; lists are values."""
    [document] = read_documents(file.read_text(), file.name)

    def walk(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        if isinstance(value, dict):
            for key, below in value.items():
                yield from walk(below, (*path, key))
        else:
            yield ".".join(path), document.line(path)

    yield from walk(document.value, ())


def test_there_are_five() -> None:
    assert [file.name for file in FILES] == [
        "edge-agent-config.yaml", "edge-config.yaml", "edge-monitoring.yaml", "edge-security.yaml", "sync-config.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_loads_alone_with_the_origin_of_every_value(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = "agent" if file == AGENT else "node"
    held = checked(capsys, str(file))
    told = {name: held[kind, name]["from"] for name, _ in names_in(file)}
    assert told == {name: f"{file}:{line}" for name, line in names_in(file)}


@pytest.mark.parametrize("order", [FILES, FILES[::-1]], ids=["forwards", "backwards"])
def test_they_load_together(order: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    held = checked(capsys, *map(str, order))
    for file in FILES:
        kind = "agent" if file == AGENT else "node"
        for name, line in names_in(file):
            assert held[kind, name]["from"] == f"{file}:{line}"


def test_each_protection_that_keeps_a_start_back_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["config", "check", *map(str, FILES)]) == 0
    lead, _, _ = capsys.readouterr().out.partition("KIND")
    for name in ("sync.network.encryption", "security.secure_boot", "access_control.authorization.roles"):  # fmt: skip
        assert f"({name}: " in lead
    assert "tamper detection (tamper_detection.enabled: true, " in lead


def test_values_are_in_kept_units(capsys: pytest.CaptureFixture[str]) -> None:
    held = {name: row["value"] for (_, name), row in checked(capsys, *map(str, SETTINGS)).items()}
    assert held["runtime.max_memory_usage"] == 512_000_000
    assert held["sync.network.max_bandwidth"] == 1_000_000
    assert held["encryption.storage.key_rotation_days"] == 30 * 86_400
    assert held["monitoring.metrics_retention"] == 7 * 86_400
    assert held["sync.retry.backoff_factor"] == 2.0
    assert held["encryption.communication.protocol"] == "TLS 1.3"
    assert held["tamper_detection.checks"] == ["boot_integrity", "filesystem_integrity", "hardware_integrity"]  # fmt: skip
    assert held["health_checks"][0] == {  # type: ignore[index]
        "name": "service_status", "interval": 300.0, "command": "systemctl is-active meta-agent-edge", "timeout": 5.0,
    }  # fmt: skip
    assert [alert["condition"] for alert in held["alerts"]] == [  # type: ignore[attr-defined]
        "cpu_usage > 90 for 5m", "free_storage < 100MB", "sync_failures > 3",
    ]  # fmt: skip
    assert held["hub.url"] == held["sync.central_url"] == "https://central.meta-agent.example.com"
    assert held["data_dir"] == "/data"


def misspelt() -> Iterator[tuple[Path, int, str, str]]:
    """Each name of each file, those in lists too, with two of its letters exchanged: file, line, name, whole text."""
    for file in FILES:
        lines = file.read_text().splitlines()
        for at, line in enumerate(lines):
            name = line.split("#")[0].strip().removeprefix("- ").partition(":")[0]
            if ":" not in line:
                continue
            wrong = f"{name[:1]}{name[2:3]}{name[1:2]}{name[3:]}"
            if wrong == name:
                wrong = name[:-1]
            yield (
                file,
                at + 1,
                name,
                "\n".join([*lines[:at], line.replace(name, wrong, 1), *lines[at + 1 :]]),
            )


@pytest.mark.parametrize(
    ("file", "line", "name", "text"),
    list(misspelt()),
    ids=lambda value: f"{value.stem}" if isinstance(value, Path) else None,
)
def test_each_misspelt_name_is_told_with_line_and_suggestion(
    file: Path, line: int, name: str, text: str, tmp_path: Path
) -> None:
    wrong = tmp_path / file.name
    wrong.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        node.find_settings([wrong], environment={})
    told = [each for each in str(caught.value).splitlines() if " unknown " in each]
    assert len(told) == 1
    assert told[0].startswith(f"{wrong}:{line}: ")
    assert told[0].partition("did you mean «")[2].removesuffix("»?").split(".")[-1] == name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_command_ends_with_2(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, line, name, text = next(each for each in misspelt() if each[0] == file)
    wrong = tmp_path / file.name
    wrong.write_text(text)
    assert main(["config", "check", str(wrong)]) == 2
    error = capsys.readouterr().err
    assert f"skerry: {wrong}:{line}: unknown setting «" in error
    assert f"{name}»?" in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("storage: {type: postgres}", "storage.type: unknown word «postgres»: known are: sqlite"),
        ("encryption: {storage: {algorithm: AES-128-ECB}}", "encryption.storage.algorithm: unknown word «AES-128-ECB»"),
        ("runtime: {mode: egde}", "runtime.mode: unknown word «egde»: did you mean «edge»?"),
        ("alerts: [{name: a, condition: x > 1, actions: [foo]}]", "alerts[0].actions[0]: unknown word «foo»: known are:"),
        ("alerts: [{name: a, condition: x > 1}]", "missing field «alerts[0].actions»"),
        ("health_checks: [{name: a, command: x, timeout: soon}]", "health_checks[0].timeout: «soon» is not a duration"),
        ("sync: {retry: {backoff_factor: 0.5}}", "sync.retry.backoff_factor: 0.5 is out of range: at least 1.0"),
        ("attestation: {server: nowhere}", "attestation.server: «nowhere» is not a URL"),
        ("security: {secure_boot: maybe}", "security.secure_boot must be true or false"),
    ],
)  # fmt: skip
def test_wrong_values_are_told(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(text)
    for find in (node.find_settings, hub.find_settings):
        with pytest.raises(InvalidInput) as caught:
            find([file], environment={})
        assert str(caught.value).startswith(f"{file}:1: {message}")


def test_an_agents_file_must_say_who_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("model: {format: onnx, path: /m.onnx}\noutput: {classes: [a, b]}\n")
    assert main(["config", "check", str(file)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"skerry: {file}: missing setting «{name}»" for name in ("name", "version", "type")
    ]


def test_people_see_a_row_for_each_field_of_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(SAMPLES / "edge-monitoring.yaml")]) == 0
    rows = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if "[" in line}
    assert " cpu_usage > 90 for 5m " in rows["alerts[high_cpu].condition"]
    assert " 10m " in rows["health_checks[database_check].interval"]
