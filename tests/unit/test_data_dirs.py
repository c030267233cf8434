"""Which data directory `node backup`, `hub backup` and their like work in, when nobody says it."""

from pathlib import Path

import pytest

from skerry.cli.contexts import Context, Contexts, contexts_file, write_contexts
from skerry.cli.data_dirs import hub_options, node_options
from skerry.cli.up_steps import Home
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput

UP = Home(Path("/up"), 8600).target
FAR = Context("https://far", Path("/far.token"), Path("/far/node"))
HUB_YAML = [Path("hub.yaml")]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    contexts = Contexts().with_context("local", UP).with_context("far", FAR)
    write_contexts(contexts_file(tmp_path), contexts, RealDisk())


def test_the_context_of_up_is_followed() -> None:
    assert node_options(None, None, None) == {"data_dir": "/up/node"}
    assert hub_options(None, None, None) == {"data_dir": "/up/hub"}


def test_an_option_says_more_than_the_context() -> None:
    assert node_options(Path("/x"), HUB_YAML, "far") == {"data_dir": "/x"}
    assert hub_options(Path("/x"), HUB_YAML, "far") == {"data_dir": "/x"}


def test_a_settings_file_says_more_than_the_current_context_and_less_than_a_named_one() -> None:
    assert hub_options(None, HUB_YAML, None) == {}
    assert hub_options(None, HUB_YAML, "local") == {"data_dir": "/up/hub"}


def test_the_default_context_is_what_the_settings_say() -> None:
    assert node_options(None, [], "default") == {}
    assert hub_options(None, [], "default") == {}


def test_a_hub_that_is_not_here_is_not_guessed() -> None:
    assert node_options(None, None, "far") == {"data_dir": "/far/node"}
    with pytest.raises(
        InvalidInput, match=r"where the hub at https://far keeps its data.*--data-dir"
    ):
        hub_options(None, None, "far")
    with pytest.raises(InvalidInput, match=r"unknown context «loacl»"):
        hub_options(None, None, "loacl")
