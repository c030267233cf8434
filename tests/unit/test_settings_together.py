"""Which of two settings holds, whose file it is, and which settings stop a start."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from skerry.cli.main import main
from skerry.core import features
from skerry.core.config import Configured, refusals
from skerry.core.documented import documented
from skerry.hub import settings as hub
from skerry.kit.errors import InvalidInput
from skerry.node import settings as node

SAMPLES = Path(__file__).parents[1] / "fixtures" / "documented"


def written(directory: Path, **texts: str) -> list[Path]:
    files = []
    for name, text in texts.items():
        file = directory / f"{name}.yaml"
        file.write_text(text)
        files.append(file)
    return files


def found(files: list[Path], **options: str) -> dict[str, Configured]:
    given = {name.replace("__", "."): value for name, value in options.items()}
    return node.find_settings(files, options=given, environment={})


def test_a_later_file_wins_and_the_earlier_one_is_told(tmp_path: Path) -> None:
    a, b = written(tmp_path, a="api: {port: 1}\nname: a\n", b="api: {port: 2}\n")
    held = found([a, b])
    assert (held["api.port"].value, held["name"].value) == (2, "a")
    assert held["api.port"].instead == (f"{a}:1",)
    assert found([b, a])["api.port"].value == 1
    assert found([a, b], api__port="3")["api.port"].instead == (f"{a}:1", f"{b}:1")


@pytest.mark.parametrize(
    ("general", "specific", "name", "kept"),
    [
        ("security: {key_rotation_interval: 60d}", "encryption: {storage: {key_rotation_days: 7}}", "encryption.storage.key_rotation_days", 7 * 86400.0),
        ("sync: {sync_interval: 90}", "sync: {schedule: {agents: 3600}}", "sync.schedule.agents", 3600.0),
        ("sync: {conflict_resolution: edge_wins}", "sync: {entities: {workflows: {conflict_resolution: central_wins}}}",
         "sync.entities.workflows.conflict_resolution", "central_wins"),
        ("sync: {central_url: \"https://a\"}", "hub: {url: \"https://b\"}", "hub.url", "https://b"),
        ("storage: {path: /srv/x/edge.db}", "data_dir: /srv/y", "data_dir", Path("/srv/y")),
        ("security: {attestation_enabled: true}", "attestation: {enabled: false}", "attestation.enabled", False),
    ],
)  # fmt: skip
def test_the_specific_name_wins_in_whatever_order(
    tmp_path: Path, general: str, specific: str, name: str, kept: object
) -> None:
    files = written(tmp_path, general=general, specific=specific)
    of_general = found(files)[name].setting.general
    for order in (files, files[::-1]):
        held = found(order)[name]
        assert held.value == kept
        assert held.instead == (f"{of_general} ({files[0]}:1)",)
    alone = found(files[:1])
    assert alone[name].value != kept
    assert alone[name].origin == f"{files[0]}:1 ({of_general})"


def test_check_says_which_name_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [file] = written(tmp_path, a="sync: {sync_interval: 90, schedule: {agents: 1h}}\n")
    assert main(["config", "check", str(file)]) == 0
    assert f"instead of sync.sync_interval ({file}:1)" in capsys.readouterr().out


def test_the_documented_names_reach_the_node(tmp_path: Path) -> None:
    text = (SAMPLES / "edge-config.yaml").read_text().replace("true", "false")
    edge, sync = written(tmp_path, edge=text, sync="sync: {retry: {initial_delay: 5, max_attempts: 3}}\n")  # fmt: skip
    settings, notes = node.settings_to_start([edge, sync], {})
    assert settings.runtime.max_storage_usage == 2_000_000_000
    assert settings.hub.url == "https://central.meta-agent.example.com"
    assert settings.storage.path == Path("/data/meta-agent-edge.db")
    assert settings.sync.sync_interval == 300
    assert (settings.sync.retry.initial_delay, settings.sync.retry.max_attempts) == (5, 3)
    assert not settings.stays_alone
    assert len(notes) == 1
    assert "settings have no effect yet" in notes[0]


def test_the_documented_names_reach_the_hub(tmp_path: Path) -> None:
    [file] = written(tmp_path, a="runtime: {mode: central}\nstorage: {path: /srv/central.db}\n")
    settings = hub.settings_to_start([file], {})
    assert settings.database_url == "sqlite:////srv/central.db"
    assert settings.data_dir == Path("/srv")


@pytest.mark.parametrize(
    ("mode", "fits_node", "fits_hub"),
    [("edge", True, False), ("standalone", True, False), ("central", False, True)],
)
def test_a_file_is_for_a_node_or_a_hub(
    tmp_path: Path, mode: str, fits_node: bool, fits_hub: bool
) -> None:
    [file] = written(tmp_path, a=f"runtime: {{mode: {mode}}}\n")
    for fits, start, other in (
        (fits_node, node.settings_to_start, "skerry hub run"),
        (fits_hub, hub.settings_to_start, "skerry node run"),
    ):
        if fits:
            start([file], {})
        else:
            with pytest.raises(InvalidInput, match=f"{file}:1: runtime.mode is «{mode}».*{other}"):
                start([file], {})


def test_check_takes_a_central_file_for_a_hubs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {"a": "runtime: {mode: central, max_memory_usage: 1GB}\n", "b": "attestation: {interval: 1h}\n"}  # fmt: skip
    files = written(tmp_path, **texts)
    assert main(["config", "check", *map(str, files), "-o", "json"]) == 0
    rows = {row["setting"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["runtime.max_memory_usage"]["note"] == "for nodes"
    assert rows["attestation.interval"]["note"] == "not built: attestation"
    assert {row["kind"] for row in rows.values()} == {"hub"}


@pytest.mark.parametrize(
    ("mode", "alone"),
    [("runtime: {mode: standalone}", True), ("runtime: {offline_mode: always}", True), ("runtime: {offline_mode: auto}", False)],
)  # fmt: skip
def test_some_nodes_never_look_for_a_hub(tmp_path: Path, mode: str, alone: bool) -> None:
    settings, _ = node.settings_to_start(written(tmp_path, a=mode), {})
    assert settings.stays_alone is alone


SEALED = ["security: {encryption_enabled: true}", "encryption: {storage: {enabled: true}}"]
PROTECTED = [
    "encryption: {communication: {enabled: true}}",
    "sync: {network: {encryption: true}}",
    "security: {secure_boot: true}",
    "security: {attestation_enabled: true}",
    "attestation: {enabled: true}",
    "tamper_detection: {enabled: true}",
    "access_control: {authentication: {method: certificate}}",
    "access_control: {authorization: {roles: [{name: admin, permissions: [read]}]}}",
]


@pytest.mark.parametrize("text", SEALED)
def test_nodes_and_hubs_encrypt_what_they_store(tmp_path: Path, text: str) -> None:
    [file] = written(tmp_path, a=text)
    settings, notes = node.settings_to_start([file], {})
    assert settings.encryption.storage.enabled
    assert settings.encryption.storage.key_rotation == 30 * 86_400
    assert notes == []
    [central] = written(tmp_path, central="runtime: {mode: central}")
    assert hub.settings_to_start([central, file], {}).encryption.storage.enabled


@pytest.mark.parametrize("text", PROTECTED)
def test_nothing_starts_without_a_protection_that_is_asked_for(tmp_path: Path, text: str) -> None:
    [file] = written(tmp_path, a=text)
    with pytest.raises(
        InvalidInput, match="cannot start the node: its settings ask for protection"
    ):
        node.settings_to_start([file], {})
    [central] = written(tmp_path, central="runtime: {mode: central}")
    if not text.startswith("sync"):
        with pytest.raises(InvalidInput, match="cannot start the hub: .*central|a.yaml:1"):
            hub.settings_to_start([central, file], {})


@pytest.mark.parametrize(
    "text",
    [
        *(text.replace("true", "false") for text in [*SEALED, *PROTECTED] if "true" in text),
        "attestation: {interval: 60, server: \"https://a\"}",
        "security: {encryption_enabled: true}\nencryption: {storage: {enabled: false}}",
        "runtime: {max_concurrent_workflows: 5}\nmonitoring: {metrics_collection: true}",
        "runtime: {offline_mode: never}",
    ],
)  # fmt: skip
def test_what_asks_for_no_protection_stops_nothing(tmp_path: Path, text: str) -> None:
    node.settings_to_start(written(tmp_path, a=text), {})


def test_each_missing_protection_is_named_once_with_its_place() -> None:
    files = [SAMPLES / "edge-config.yaml", SAMPLES / "edge-security.yaml", SAMPLES / "sync-config.yaml"]  # fmt: skip
    told = refusals(found(files))
    assert [word.partition(" (")[0] for word in told] == [
        "TLS", "secure boot", "TLS", "certificates of people", "roles of people at a node", "attestation", "tamper detection",
    ]  # fmt: skip
    assert f"attestation (attestation.enabled: true, {files[1]}:26)" in told


def test_a_built_feature_stops_nothing() -> None:
    [setting] = [each for each in documented("node") if each.path == "attestation.enabled"]
    assert setting.insists(True)
    built = replace(setting, feature=replace(features.ATTESTATION, built=True))
    assert not built.insists(True)
    assert not built.lacks(True)


def test_an_agents_file_is_taken_and_told() -> None:
    agent = SAMPLES / "edge-agent-config.yaml"
    settings, notes = node.settings_to_start([agent], {})
    assert settings.name != "text-classifier-lite"
    assert notes == [
        f"agent «text-classifier-lite» ({agent}:1) is not run: workflows and agents are not built yet"
    ]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("encryption.storage.key_rotation_days", ["bare number counts days", "«security.key_rotation_interval» holds", "at the next start"]),
        ("sync.sync_interval", ["bare number counts seconds", "at the next start"]),
        ("attestation.enabled", ["gets a refusal at the start"]),
        ("alerts.condition", ["cpu_usage > 90 for 5m", "not built"]),
        ("model.precision", ["int8, fp16, fp32"]),
    ],
)  # fmt: skip
def test_explain_knows_every_kind_of_name(
    key: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "explain", key, "-o", "json"]) == 0
    meaning = json.loads(capsys.readouterr().out)[0]["meaning"]
    assert [word for word in words if word not in meaning] == []


def test_every_documented_name_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for setting in documented("node"):
        assert main(["config", "explain", setting.path, "--kind", "node", "-o", "csv"]) == 0
        assert setting.doc.split("«")[0].strip() in capsys.readouterr().out
