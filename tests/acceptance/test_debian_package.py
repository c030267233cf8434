"""The Debian packages on a clean Debian 12 with systemd, from installation to purge."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.debian_machine import Machine, make_base, raised, until

ROOT = Path(__file__).parents[2]
NEXT = "99.0"

WORKLOADS = """
kind: workload
name: sleeper
runtime: process
process: {command: [python, -c, "import signal; signal.pause()"]}
---
kind: workload
name: sensors
runtime: process
process: {command: [python, -m, skerry.samples.host_sensors]}
env: {INTERVAL: 1s}
streams: {"host.*": keep}
"""

SYSTEMS_OWN = ("var/log", "var/lib/dpkg", "var/lib/systemd", "var/cache", "var/tmp/systemd-private")
"""What the system writes by itself; so are the copies of etc/passwd and the like that `useradd` leaves."""

pytestmark = [
    pytest.mark.soak,  # two minutes on a machine that does nothing else
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system is not permitted"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A base, and the packages of node, hub and an extra."""
    place = tmp_path_factory.mktemp("made")
    with ThreadPoolExecutor() as threads:
        base = threads.submit(make_base, place / "base.tar")
        only = [f"--only={each}" for each in ("skerry", "skerry-hub", "skerry-zenoh")]
        packages = threads.submit(build, place, *only)
        base.result()
        return place / "base.tar", packages.result()


def build(place: Path, *options: str) -> list[Path]:
    words = [ROOT / "deploy" / "package", "--output", place, "--compression", "none", *options]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.split("\n") if line.endswith(".deb")]


@pytest.fixture
def machine(made: tuple[Path, list[Path]], tmp_path: Path) -> Iterator[Machine]:
    found = Machine(made[0], tmp_path / "root")
    try:
        yield found
    finally:
        found.scrap()


@pytest.mark.guarantee("G2")
@pytest.mark.guarantee("G8")
def test_it_installs_enrols_reboots_is_upgraded_and_goes_without_a_trace(
    made: tuple[Path, list[Path]], machine: Machine, tmp_path: Path
) -> None:
    packages, [*both, extra] = made[1], made[1]
    machine.boot()
    before = machine.files(but=_systems_own)
    assert "systemctl enable --now skerry-node" in machine.install(*both)
    for unit in ("skerry-node", "skerry-hub"):  # nothing runs before somebody says so
        assert machine.attempt("systemctl", "is-active", unit).stdout == "inactive\n"

    _enrol(machine)
    machine.run("skerry", "apply", "-f", "-", stdin=WORKLOADS)
    until(lambda: len(_pids(machine)) == 2, "the workloads run")
    until(lambda: bool(_measured(machine)), "the hub has values")

    _a_hung_agent_is_replaced_and_workloads_do_not_notice(machine)
    _after_a_power_cut_workloads_start_without_the_hub(machine)
    _an_extra_comes_to_a_running_node(machine, extra)
    _an_upgrade_keeps_data_and_workloads(
        machine, [raised(each, NEXT, tmp_path) for each in packages]
    )
    _a_store_of_a_newer_release_is_not_given_to_an_older_one(machine, packages)

    trust = _sshd_trusts_the_hub(machine)
    machine.run("mkdir", "-p", "/sys/fs/cgroup/skerry/left-by-an-agent-that-was-killed")
    machine.run("dpkg", "--remove", "skerry-zenoh")
    assert _import_of_zenoh(machine) != 0
    machine.run("dpkg", "--remove", "skerry-hub", "skerry")
    assert machine.processes("skerry") == []
    assert [path for path in trust if path.exists()] == []
    shutil.rmtree(machine.root / "etc/ssh")
    assert (machine.root / "var/lib/skerry/node/identity.json").exists()
    assert (machine.root / "var/lib/skerry/hub/hub.db").exists()
    machine.run("dpkg", "--purge", "skerry-hub", "skerry")
    after = machine.files(but=_systems_own)
    differ = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert differ == set()
    assert machine.attempt("ls", "/sys/fs/cgroup/skerry").returncode != 0
    assert machine.attempt("dpkg-query", "--list", "skerry*").returncode != 0


def _sshd_trusts_the_hub(machine: Machine) -> list[Path]:
    """As `skerry node ssh-setup` leaves it."""
    ssh = machine.root / "etc/ssh"
    left = [ssh / "sshd_config.d/50-skerry.conf", ssh / "skerry/hub/user_ca.pub"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left")
    return [*left, ssh / "skerry"]


def _enrol(machine: Machine) -> None:
    machine.run("systemctl", "enable", "--now", "skerry-hub")
    token = machine.run("skerry", "token", "create")
    (machine.root / "root/token").write_text(token)
    hub = "https://127.0.0.1:8601"
    machine.run("skerry", "node", "enroll", "--hub", hub, "--token-file", "/root/token")
    (machine.root / "root/token").unlink()
    machine.run("systemctl", "enable", "--now", "skerry-node")


def _a_hung_agent_is_replaced_and_workloads_do_not_notice(machine: Machine) -> None:
    drop_in = machine.root / "etc/systemd/system/skerry-node.service.d"
    drop_in.mkdir()
    (drop_in / "test.conf").write_text("[Service]\nWatchdogSec=2\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "skerry-node")
    hung, workloads = _main(machine), _pids(machine)
    machine.send(hung, signal.SIGSTOP)
    until(lambda: _main(machine) not in {hung, "0"}, "another agent")
    until(lambda: _pids(machine) == workloads, "the workloads are the same")
    assert "watchdog" in machine.run("journalctl", "--unit", "skerry-node", "--no-pager").lower()
    (drop_in / "test.conf").unlink()
    drop_in.rmdir()
    machine.run("systemctl", "daemon-reload")


def _after_a_power_cut_workloads_start_without_the_hub(machine: Machine) -> None:
    machine.run("systemctl", "disable", "skerry-hub")
    was = _status(machine)["id"]
    machine.cut_power()
    machine.boot()
    until(lambda: len(_pids(machine)) == 2, "the workloads run again")
    assert machine.attempt("systemctl", "is-active", "skerry-hub").stdout == "inactive\n"
    assert _status(machine)["id"] == was
    machine.run("systemctl", "enable", "--now", "skerry-hub")


def _an_extra_comes_to_a_running_node(machine: Machine, extra: Path) -> None:
    agent, workloads = _main(machine), _pids(machine)
    assert _import_of_zenoh(machine) != 0
    machine.install(extra)
    assert _import_of_zenoh(machine) == 0
    assert _main(machine) not in {agent, "0"}
    until(lambda: _pids(machine) == workloads, "the workloads are the same")


def _import_of_zenoh(machine: Machine) -> int:
    return machine.attempt("/opt/skerry/current/bin/python", "-I", "-c", "import zenoh").returncode


def _an_upgrade_keeps_data_and_workloads(machine: Machine, packages: list[Path]) -> None:
    agent, workloads, measured = _main(machine), _pids(machine), _measured(machine)
    machine.install(*packages)
    assert _main(machine) not in {agent, "0"}
    until(lambda: _pids(machine) == workloads, "the workloads are the same")
    until(lambda: len(_measured(machine)) > len(measured), "values go on to the hub")
    assert _measured(machine)[: len(measured)] == measured
    current = machine.root / "opt/skerry/current"
    assert str(current.readlink()) == f"releases/{NEXT}"
    assert _import_of_zenoh(machine) == 0
    releases = sorted(path.name for path in (machine.root / "opt/skerry/releases").iterdir())
    assert len(releases) == 2  # the keeper and the workloads run from the old one still
    machine.cut_power()
    machine.boot()
    until(lambda: len(_pids(machine)) == 2, "the workloads run again")
    releases = sorted(path.name for path in (machine.root / "opt/skerry/releases").iterdir())
    assert releases == [NEXT]


def _a_store_of_a_newer_release_is_not_given_to_an_older_one(
    machine: Machine, packages: list[Path]
) -> None:
    machine.run("systemctl", "stop", "skerry-node")
    store = "/var/lib/skerry/node/node.db"
    change = f"import sqlite3; db = sqlite3.connect('{store}'); print(db.execute('PRAGMA user_version').fetchone()[0]); db.execute('PRAGMA user_version = %s')"
    known = machine.run("python3.11", "-c", change % 999).strip()
    words = machine.refused(*packages)
    assert f"{store} has schema 999, which is newer than this release knows ({known})" in words
    for name in ("skerry", "skerry-hub"):
        stands = machine.run("dpkg-query", "--show", "--showformat=${Version} ${Status}", name)
        assert stands == f"{NEXT} install ok installed"
    machine.run("python3.11", "-c", change % known)
    machine.run("systemctl", "start", "skerry-node")
    until(lambda: len(_pids(machine)) == 2, "nothing was changed")


def _status(machine: Machine) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        machine.run("skerry", "node", "status", "--output", "json")
    )
    return found


def _pids(machine: Machine) -> dict[str, int]:
    """Of the workloads that run."""
    done = machine.attempt("skerry", "node", "status", "--output", "json")
    if done.returncode != 0 or "workloads" not in (status := json.loads(done.stdout)):
        return {}
    return {
        each["workload"]: each["pid"] for each in status["workloads"] if each["phase"] == "running"
    }


def _measured(machine: Machine) -> list[str]:
    """When the hub's values of one name were measured, the oldest first."""
    words = ("skerry", "query", "host.memory.used", "--limit", "10000", "--output", "json")
    return sorted(str(row["timestamp"]) for row in json.loads(machine.run(*words)))


def _main(machine: Machine) -> str:
    words = ("systemctl", "show", "--property=MainPID", "--value", "skerry-node")
    return machine.run(*words).strip()


def _systems_own(name: str) -> bool:
    return name.startswith(SYSTEMS_OWN) or (name.startswith("etc/") and name.endswith("-"))
