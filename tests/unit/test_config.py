"""Settings: where values come from, which source wins, and that every mistake is named with its place."""

from pathlib import Path

import pytest

from skerry.core.config import SourceFile, Sources, find, load, nested
from skerry.core.setting_values import Setting, write_value
from skerry.kit.errors import InvalidInput

SETTINGS = (
    Setting("name", "text", "n1", "Its name.", check=lambda v: "no" if v == "bad" else None),
    Setting("labels", "texts", {}, "Its labels."),
    Setting("dir", "path", Path("/var/x"), "Its directory."),
    Setting("hub.url", "text", None, "Its hub."),
    Setting("api.port", "integer", 8000, "Its port.", low=0, high=65535),
    Setting("keep.limit", "size", 1_000_000, "Room.", low=1000),
    Setting("keep.age", "duration", 60.0, "Age.", high=3600),
)


def loaded(
    text: str = "", environment: dict[str, str] | None = None, options: dict[str, str] | None = None
) -> dict[str, tuple[object, str]]:
    sources = Sources((SourceFile("n.yaml", text),), environment or {}, "SK_", options or {})
    return {path: (each.value, each.origin) for path, each in load(SETTINGS, sources).items()}


def complaints(
    text: str = "", environment: dict[str, str] | None = None, options: dict[str, str] | None = None
) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        loaded(text, environment, options)
    return str(caught.value).splitlines()


def test_defaults_and_their_tree() -> None:
    assert loaded()["api.port"] == (8000, "default")
    assert nested(load(SETTINGS, Sources())) == {
        "name": "n1",
        "labels": {},
        "dir": Path("/var/x"),
        "hub": {"url": None},
        "api": {"port": 8000},
        "keep": {"limit": 1_000_000, "age": 60.0},
    }


def test_option_before_environment_before_file_before_default() -> None:
    text = "api: {port: 1}\nkeep:\n  limit: 2MB\n  age: 90s\nname: from-file\n"
    environment = {"SK_API_PORT": "2", "SK_NAME": "from-environment", "PATH": "/bin"}
    found = loaded(text, environment, {"api.port": "3"})
    assert found["api.port"] == (3, "option --api-port")
    assert found["name"] == ("from-environment", "environment SK_NAME")
    assert found["keep.limit"] == (2_000_000, "n.yaml:3")
    assert found["keep.age"] == (90.0, "n.yaml:4")
    assert found["dir"] == (Path("/var/x"), "default")


def test_values_from_outside_the_file_are_written_as_inside() -> None:
    environment = {
        "SK_LABELS": "{site: lab, rack: 1.10}",
        "SK_HUB_URL": "http://h:1/#*&",
        "SK_DIR": "~/x: y",
        "SK_KEEP_AGE": "5m",
    }
    written = load(SETTINGS, Sources(environment=environment, prefix="SK_"))
    found = {path: each.value for path, each in written.items()}
    assert found["labels"] == {"site": "lab", "rack": "1.10"}
    assert found["hub.url"] == "http://h:1/#*&"
    assert found["dir"] == Path.home() / "x: y"
    assert found["keep.age"] == 300.0


def test_a_name_without_value_leaves_the_default() -> None:
    assert loaded("hub:\napi:\n  port:\n")["api.port"] == (8000, "default")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hub: {ulr: x}", "n.yaml:1: unknown setting «hub.ulr»: did you mean «hub.url»?"),
        ("\n\nnmae: x", "n.yaml:3: unknown setting «nmae»: did you mean «name»?"),
        ("hub: x", "n.yaml:1: «hub» must be a map of settings, this is a text"),
        ("- a", "n.yaml:1: the file must be a map of settings, this is a list"),
        ("api: {port: x}", "n.yaml:1: api.port must be a whole number, this is a text"),
        ("api: {port: 65536}", "n.yaml:1: api.port: 65536 is out of range: at most 65535"),
        ("keep: {limit: 999}", "n.yaml:1: keep.limit: 999B is out of range: at least 1KB"),
        ("keep: {age: 2h}", "n.yaml:1: keep.age: 2h is out of range: at most 1h"),
        (
            "keep: {age: soon}",
            "n.yaml:1: keep.age: «soon» is not a duration: write a number with ms, s, m, h, d or w",
        ),
        ("name: bad", "n.yaml:1: name: no"),
        (
            "dir: var/x",
            "n.yaml:1: dir: «var/x» is not an absolute path: begin it with «/» or «~/»",
        ),
        ("labels: {a: [b]}", "n.yaml:1: labels.a must be a text, this is a list"),
        ("name: a\n---\nname: b", "n.yaml:3: settings are one YAML document, this is a second"),
    ],
)
def test_mistakes_in_the_file(text: str, message: str) -> None:
    assert complaints(text) == [message]


def test_mistakes_of_all_sources_are_listed_together() -> None:
    environment = {"SK_API_PORT": "x", "SK_HUB_ULR": "y", "SK_LABELS": "{a"}
    assert complaints("name: bad", environment, {"keep.age": "2h"}) == [
        "n.yaml:1: name: no",
        "environment SK_LABELS:1:3: cannot read YAML: expected ',' or '}', but got '<stream end>'. Has the file been cut off?",
        "environment SK_API_PORT: api.port must be a whole number, this is a text",
        "option --keep-age: keep.age: 2h is out of range: at most 1h",
        "environment SK_HUB_ULR: unknown setting: did you mean «SK_HUB_URL»?",
    ]


def test_an_option_that_does_not_exist_is_named() -> None:
    assert complaints(options={"api.prot": "1"}) == [
        "option --api-prot: unknown setting «api.prot»: did you mean «api.port»?"
    ]


def test_finding_and_writing() -> None:
    found = load(SETTINGS, Sources())
    assert [str(find(found, path)) for path in ("hub.url", "keep.limit", "keep.age")] == [
        "none", "1MB", "1m",
    ]  # fmt: skip
    assert write_value(find(found, "labels").setting, {"a": "b", "c": "d"}) == "{a: b, c: d}"
    with pytest.raises(InvalidInput, match=r"unknown setting «port»: did you mean «api.port»\?"):
        find(found, "port")
