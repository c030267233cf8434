"""The files of deploy/ fit each other and this build."""

import subprocess
from pathlib import Path

import pytest
import yaml

from skerry.hub.settings import find_settings, hub_settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_hubs_of_the_compose_file_share_all_that_they_must() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    one, other = services["hub-a"], services["hub-b"]
    assert one["command"] != other["command"]
    assert {key: one[key] for key in one if key != "command"} == {
        key: other[key] for key in other if key != "command"
    }
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
