"""The command line's own rules: times, contexts, tables, wrong use; nothing of it needs a hub or node."""

import csv
import io
import json
import os
import stat
from pathlib import Path

import pytest

import skerry
from skerry.cli.assignments import read_assignments
from skerry.cli.commands import COMMANDS
from skerry.cli.contexts import (
    Context,
    Contexts,
    choose,
    contexts_file,
    read_contexts,
    write_contexts,
)
from skerry.cli.main import main
from skerry.cli.output import (
    Form,
)
from skerry.cli.records import target_of
from skerry.cli.times import parse_span, parse_time
from skerry.cli.welcome import program
from skerry.kit.clock import NS
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput

NOW = 1_790_000_000 * NS
DEFAULT = Context("http://127.0.0.1:8600", Path("/hub/admin.token"), Path("/node"))
LAB = Context("http://lab:1", Path("/lab.token"), Path("/lab"))


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("10m", NOW - 600 * NS),
        ("-10m", NOW - 600 * NS),
        ("500ms", NOW - NS // 2),
        ("now", NOW),
        ("2026-01-31T12:00:00Z", 1_769_860_800 * NS),
        ("2026-01-31T12:00:00.123456789Z", 1_769_860_800 * NS + 123_456_789),
        ("2026-01-31T12:00:00.5+01:00", 1_769_857_200 * NS + NS // 2),
        ("2026-01-31 12:00Z", 1_769_860_800 * NS),
        ("1969-12-31T23:59:59Z", -NS),
    ],
)
def test_times(text: str, ns: int) -> None:
    assert parse_time(text, NOW) == ns


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "--5m", "2026-13-01T00:00:00Z", "5x", "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read the time"):
        parse_time(text, NOW)


def test_contexts_are_kept_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "contexts.json"
    assert read_contexts(path) == Contexts()
    contexts = Contexts().with_context("local", DEFAULT).with_context("lab", LAB)
    write_contexts(path, contexts, RealDisk())
    assert read_contexts(path) == contexts
    assert contexts.current == "local"  # the second one does not take its place
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"contexts": 5}', b'{"contexts": {"a": {"hub": "x"}}}', b'{"current": "\xff"}'],
)
def test_a_damaged_contexts_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "contexts.json"
    path.write_bytes(content)
    with pytest.raises(
        InvalidInput, match=r"cannot read .*contexts.json: .*Correct the file or delete it"
    ):
        read_contexts(path)


def test_options_before_context_before_default() -> None:
    contexts = Contexts("lab", {"lab": LAB, "local": DEFAULT})
    assert choose(Contexts(), DEFAULT) == DEFAULT
    assert choose(contexts, DEFAULT) == LAB
    assert choose(contexts, DEFAULT, name="local") == DEFAULT
    assert choose(contexts, DEFAULT, data_dir=Path("/x")) == Context(
        LAB.hub, LAB.token_file, Path("/x")
    )
    assert choose(contexts, DEFAULT, token_file=Path("/t")).token_file == Path("/t")
    assert choose(contexts, DEFAULT, name="default") == DEFAULT
    with pytest.raises(InvalidInput, match=r"unknown context «loacl»: did you mean «local»\?"):
        choose(contexts, DEFAULT, name="loacl")


def test_contexts_are_listed_and_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    def current() -> dict[str, bool]:
        assert main(["context", "list", "-o", "csv"]) == 0
        rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
        return {row["name"]: row["current"] == "true" for row in rows}

    assert current() == {"default": True}
    path = contexts_file(tmp_path)
    write_contexts(path, Contexts().with_context("lab", LAB), RealDisk())
    assert current() == {"lab": True, "default": False}
    assert main(["context", "use", "default"]) == 0
    assert capsys.readouterr().out.startswith("commands now mean context «default»")
    assert current() == {"lab": False, "default": True}
    write_contexts(path, read_contexts(path).with_context("local", DEFAULT), RealDisk())
    assert current() == {"lab": False, "local": False, "default": True}
    assert main(["context", "use", "lab", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"current": "lab", "hub": LAB.hub}


def test_a_token_is_sent_to_its_own_hub_only() -> None:
    contexts = Contexts("lab", {"lab": LAB})
    assert choose(contexts, DEFAULT, hub="http://lab:1/").token_file == LAB.token_file
    assert choose(contexts, DEFAULT, hub=DEFAULT.hub).token_file == DEFAULT.token_file
    with pytest.raises(InvalidInput, match=r"no context has a token for it"):
        choose(contexts, DEFAULT, hub="http://elsewhere:1")


@pytest.mark.parametrize(
    "hub", ["lab", "lab:8600", "ftp://lab", "http://", "http://lab/path", "http://[x"]
)
def test_what_is_no_hub(hub: str) -> None:
    with pytest.raises(InvalidInput, match=r"cannot use the hub .*: write for example http://"):
        choose(Contexts(), DEFAULT, hub=hub, token_file=Path("/t"))


def test_assignments() -> None:
    assert read_assignments(["site=lab", "x=a=b", "y="], "--label", "") == {"site": "lab", "x": "a=b", "y": ""}  # fmt: skip
    for wrong in ("site", "=lab"):
        with pytest.raises(InvalidInput, match=rf"cannot read --label {wrong}: write KEY=VALUE"):
            read_assignments([wrong], "--label", "site=lab")


def test_how_people_call_it() -> None:
    assert program("/nowhere/bin/skerry") == "/nowhere/bin/skerry"
    assert program("/x/skerry/cli/main.py").endswith(" -m skerry.cli.main")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"skerry {skerry.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gte", "nodes"], "No such command 'gte'. Did you mean 'get'?"),
        (["get", "node"], "No such command 'node'. Did you mean 'nodes', 'models'?"),
        (["query"], "Missing argument 'name'."),
        (["query", "x", "--limit", "many"], "Invalid value for '--limit': Input should be a valid integer, unable to parse string as an integer"),
        (["query", "x", "--lmit", "1"], "No such option: --lmit (Possible options: --limit)"),
        (["apply"], "Missing option '-f' / '--file'."),
        (["apply", "-f", "/nowhere.yaml"], "cannot read /nowhere.yaml: No such file or directory"),
        (["config", "explain", "api.prt"], "unknown setting «api.prt»: did you mean «api.port»?"),
        (["get", "nodes", "--context", "x"], "unknown context «x»: known are: default"),
        (["token", "create", "--ttl", "5x"], "cannot use --ttl: «5x» is not a duration: write a number with ms, s, m, h, d or w"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_and_2(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err == f"skerry: {message}\n"
    assert captured.out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "Usage: skerry" in capsys.readouterr().out


def test_config_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    def check(name: str, text: str) -> tuple[int, str, str]:
        file = tmp_path / name
        file.write_text(text)
        code = main(["config", "check", str(file)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    code, out, _ = check("a.yaml", "name: n\napi: {port: 0}\n")
    assert (code, out.splitlines()[0]) == (
        0,
        f"{tmp_path}/a.yaml: fine (node settings, 2 not by default)",
    )
    code, out, _ = check("b.yaml", "listen: 127.0.0.1:1\n")
    assert (code, out.splitlines()[0]) == (
        0,
        f"{tmp_path}/b.yaml: fine (hub settings, 1 not by default)",
    )
    workload = "kind: workload\nname: a\nprocess: {command: [x]}\n"
    code, out, _ = check("c.yaml", workload)
    assert (code, out.splitlines()[0]) == (0, f"{tmp_path}/c.yaml: fine (1 workload)")
    code, _, err = check("hub.yaml", "listne: 127.0.0.1:1\nretention: {event: 1d}\n")
    assert code == 2
    assert err == (
        f"skerry: {tmp_path}/hub.yaml:1: unknown setting «listne»: did you mean «listen»?\n"
        f"skerry: {tmp_path}/hub.yaml:2: unknown setting «retention.event»: did you mean «retention.events»?\n"
    )


def test_config_check_shows_what_is_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SKERRY_NODE_API_PORT", "9000")
    file = tmp_path / "node.yaml"
    file.write_text("labels: {site: lab}\nrecords:\n  keep_limit: 2GB\n")
    asked = ["config", "check", str(file), "--set", "logs.level=debug"]
    assert main([*asked, "-o", "json"]) == 0
    held = {each["setting"]: (each["value"], each["from"]) for each in json.loads(capsys.readouterr().out)}  # fmt: skip
    assert held["records.keep_limit"] == (2_000_000_000, f"{file}:3")
    assert held["labels"] == ({"site": "lab"}, f"{file}:1")
    assert held["api.port"] == (9000, "environment SKERRY_NODE_API_PORT")
    assert held["logs.level"] == ("debug", "option --logs-level")
    assert held["hub.url"] == (None, "default")
    assert main([*asked, "-o", "csv"]) == 0
    rows = {row["setting"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert (rows["records.keep_limit"]["value"], rows["labels"]["value"]) == ("2000000000", '{"site": "lab"}')  # fmt: skip
    assert main(asked) == 0
    shown = capsys.readouterr().out.splitlines()[2:]
    names = [line.split()[1] for line in shown]
    assert names[:3] == ["data_dir", "labels", "name"]
    assert names == sorted(names, key=lambda name: (name.rpartition(".")[0], name))
    assert {"api.port", "runtime.max_memory_usage", "sync.sync_interval", "storage.path"} <= {
        *names
    }
    assert not any(name.startswith(("attestation.", "metrics.")) for name in names)
    assert "2GB" in shown[names.index("records.keep_limit")]
    monkeypatch.setenv("SKERRY_NODE_API_PORT", "many")
    assert main(["config", "check"]) == 2
    assert capsys.readouterr().err == "skerry: environment SKERRY_NODE_API_PORT: api.port must be a whole number, this is a text\n"  # fmt: skip


@pytest.mark.guarantee("G10")
@pytest.mark.parametrize("form", Form)
def test_a_password_in_an_address_is_not_shown(
    form: Form, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text("database: postgresql://skerry:s3cret@db/skerry\n")
    for asked in (["check", str(file)], ["explain", "database", "--config", str(file)]):
        assert main(["config", *asked, "-o", form]) == 0
        out = capsys.readouterr().out
        assert "postgresql://skerry:***@db/skerry" in out
        assert "s3cret" not in out


def test_config_explain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SKERRY_HUB_FLEET", "lab")
    (tmp_path / "node.yaml").write_text("api: {port: 7}\n")
    assert main(["config", "explain", "api.port", "--data-dir", str(tmp_path), "-o", "json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["value"], found["from"]) == (
        "node",
        7,
        f"{tmp_path}/node.yaml:1",
    )
    assert (found["default"], found["variable"]) == (8000, "SKERRY_NODE_API_PORT")
    assert main(["config", "explain", "fleet", "-o", "csv"]) == 0
    assert "lab,environment SKERRY_HUB_FLEET" in capsys.readouterr().out
    assert main(["config", "explain", "data_dir"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "KIND",
        "node",
        "hub",
    ]


@pytest.mark.parametrize(("since", "until"), [("5m", "10m"), ("10m", "10m"), ("now", "2020-01-01")])
def test_what_is_no_span_of_time(since: str, until: str) -> None:
    with pytest.raises(InvalidInput, match=rf"from {since} until {until}: that is no span of time"):
        parse_span(since, until, NOW)


def test_a_span_may_be_open() -> None:
    assert parse_span(None, None, NOW) == (None, None)
    assert parse_span("10m", None, NOW) == (NOW - 600 * NS, None)


def test_an_export_replaces_files_only(tmp_path: Path) -> None:
    pipe, file, link = tmp_path / "pipe.csv", tmp_path / "file.csv", tmp_path / "link.csv"
    os.mkfifo(pipe)
    file.touch()
    link.symlink_to(file)
    assert [target_of(path) for path in (file, link, tmp_path / "new.csv")] == [
        file.resolve(),
        file.resolve(),
        tmp_path.resolve() / "new.csv",
    ]
    for path in (pipe, tmp_path, Path("/"), Path("/dev/null")):
        with pytest.raises(InvalidInput, match=r"cannot write .*: it is not a file"):
            target_of(path)
