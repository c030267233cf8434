"""What can be said of the Debian packages without building them: their parts, scripts, units and settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from skerry.hub.settings import find_settings as hub_settings
from skerry.node.settings import find_settings as node_settings

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "deploy" / "debian"
SCRIPTS = [*sorted(SOURCES.glob("skerry*/p*")), SOURCES / "settle", SOURCES / "tidy"]

sys.path.insert(0, str(ROOT / "tools"))
from debian_packages import APART, EXTRAS, PACKAGES, pins, pins_of, platforms  # noqa: E402 - tools/ is no package


def test_the_packages_together_have_every_pinned_library_once() -> None:
    parts = [pins_of(package) for package in PACKAGES if package not in APART]
    names = [name for part in parts for name in part]
    assert sorted(names) == sorted(pins("run.txt"))
    assert {"litestar", "obstore"} <= parts[1].keys()
    assert sorted(parts[2]) == ["wasmtime"]
    assert sorted(parts[3]) == ["eclipse-zenoh"]
    assert list(apart := pins_of("skerry-parquet")) == ["pyarrow"]
    assert all("--hash=sha256:" in entry for part in (*parts, apart) for entry in part.values())


def test_no_text_sends_people_to_an_index_that_has_no_skerry() -> None:
    texts = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py"), ROOT / "README.md"]
    named = {path: re.findall(r"skerry\[[a-z]\w*\]", path.read_text()) for path in texts}
    assert {path.name: found for path, found in named.items() if found} == {}


@pytest.mark.parametrize("package", [each for each in PACKAGES if each != "skerry"])
def test_every_further_package_has_its_place_in_a_release(package: str) -> None:
    extra = package.removeprefix("skerry-")
    [settled] = [
        line for line in (SOURCES / "settle").read_text().splitlines() if line.startswith("for ")
    ]
    assert extra in settled.removesuffix("; do").split()
    control = (SOURCES / package / "control").read_text()
    assert f"\nPackage: {package}\n" in f"\n{control}"
    assert "\nDepends: skerry (= @VERSION@)" in control
    assert f"{package} (= @VERSION@)" in (SOURCES / "skerry" / "control").read_text()


@pytest.mark.parametrize("package", list(EXTRAS))
def test_a_running_node_is_started_anew_with_what_it_did_not_have(package: str) -> None:
    extra = package.removeprefix("skerry-")
    lines = (SOURCES / package / "postinst").read_text().splitlines()
    before = lines.index(
        f"had=$(cat /opt/skerry/current/extras/{extra}/version 2>/dev/null || true)"
    )
    assert before < lines.index("/opt/skerry/package/settle")
    assert "  systemctl try-restart skerry-node.service" in lines


def test_wheels_of_each_architecture_are_its_own() -> None:
    assert "--platform=manylinux_2_28_aarch64" in platforms("arm64")
    assert not [each for each in platforms("arm64") if "x86" in each]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_scripts_are_plain_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)


def test_what_is_shipped_as_settings_changes_nothing_but_the_hubs_directory() -> None:
    shipped = node_settings([SOURCES / "node.yaml"], environment={})
    assert [name for name, each in shipped.items() if each.given] == []
    hub = hub_settings([SOURCES / "hub.yaml"], environment={})
    assert [name for name, each in hub.items() if each.given] == ["data_dir"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", ["skerry-node.service", "skerry-hub.service"])
def test_systemd_understands_the_units(unit: str, tmp_path: Path) -> None:
    place = tmp_path / unit
    text = (SOURCES / unit).read_text()
    place.write_text(text.replace("/opt/skerry/current/bin/skerry", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", place],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if unit in line and "tidy" not in line]
    assert said == []


def test_the_hub_is_confined_and_the_node_lets_its_workloads_live() -> None:
    node, hub = ((SOURCES / f"skerry-{each}.service").read_text() for each in ("node", "hub"))
    for line in ("KillMode=process", "Delegate=yes", "OOMPolicy=continue", "Restart=always"):
        assert f"\n{line}\n" in node
    for line in ("User=skerry", "ProtectSystem=strict", "CapabilityBoundingSet=", "Restart=always"):
        assert f"\n{line}\n" in hub
    for unit in (node, hub):
        assert "\nType=notify\n" in unit
        assert "\nWatchdogSec=120\n" in unit
