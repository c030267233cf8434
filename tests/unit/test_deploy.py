"""The files of deploy/ fit each other and this build."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from skerry.hub.settings import find_settings, hub_settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_hubs_of_the_compose_file_share_all_that_they_must() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    one, other = services["hub-a"], services["hub-b"]
    own = {"command", "environment"}
    for key in own:
        assert one[key] != other[key]
    assert {key: one[key] for key in one.keys() - own} == {
        key: other[key] for key in other.keys() - own
    }
    doors = [each["environment"].pop("SKERRY_HUB_NODES_LISTEN") for each in (one, other)]
    assert one["environment"] == other["environment"]
    addresses = [*doors, one["command"][1], other["command"][1]]
    assert len(set(addresses)) == len(addresses)
    settings = hub_settings(find_settings([DEPLOY / "hub.yaml"], environment={}))
    assert f"hub:{settings.data_dir}" in one["volumes"]
    assert settings.database == "postgresql://skerry@127.0.0.1:5433/skerry"
    for service in (one, other):
        flag, listen = service["command"]
        assert flag == "--listen"
        find_settings([DEPLOY / "hub.yaml"], environment={}, options={"listen": listen})


def test_without_a_registry_every_image_is_built_here() -> None:
    services, local = (
        yaml.safe_load((DEPLOY / name).read_text())["services"]
        for name in ("compose.yaml", "compose.local.yaml")
    )
    assert services.keys() == local.keys()
    for service in local.values():
        build = service["build"]
        recipe = DEPLOY / build["context"] / build["dockerfile"]
        base = recipe.read_text().partition("FROM ")[2].partition("\n")[0]
        assert base == "skerry-base" or (base, build["args"]) == ("$BASE", {"BASE": "skerry-base"})


@pytest.mark.parametrize(
    "script", ["prepare", "backup", "restore", "drill", "base", "postgres-entry"]
)
def test_scripts_are_plain_shell(script: str) -> None:
    subprocess.run(["sh", "-n", DEPLOY / script], check=True)
    assert (DEPLOY / script).stat().st_mode & 0o100


@pytest.mark.parametrize(("fails", "code"), [("", 0), ("run", 1), ("stop", 1)])
def test_the_hubs_work_again_after_a_restore_that_was_refused(
    tmp_path: Path, fails: str, code: int
) -> None:
    compose = tmp_path / "compose"
    compose.write_text(f'#!/bin/sh\necho "$3" >>"$0.log"\n[ "$3" != "{fails}" ]\n')
    compose.chmod(0o700)
    done = subprocess.run(
        [DEPLOY / "restore", "one.skb"],
        env=os.environ | {"COMPOSE": str(compose)},
        capture_output=True,
        text=True,
        check=False,
    )
    words = (tmp_path / "compose.log").read_text().split()
    assert (done.returncode, words[0], words[-1]) == (code, "stop", "start")
    assert ("FAILED" in done.stderr) == bool(code)
