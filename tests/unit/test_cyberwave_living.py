"""What runs over an end of the agent: its tokens, and what counts as running."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.workload_cases import BOOT, live, row, wish
from tests.workload_rig import process_launch

from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, SkerryError, Transient
from skerry.node.broker.granting import Granting
from skerry.node.broker.tokens import digest_of
from skerry.node.bus.router import BusPlan, BusWorkloads
from skerry.node.contracts.cyberwave import ROUTER
from skerry.node.cyberwave.living import LeftRunning, LivingGrants, running_of
from skerry.node.store.instances import ActualWorkload
from skerry.node.twin_ports import Grant
from skerry.wire.workload import Assignment


class Drivers:
    """Gives each instance a grant; those in `broken` cannot be launched."""

    def __init__(self, directory: Path) -> None:
        self.tokens = Granting(b"secret", directory / "tokens", RealDisk())
        self.grants = LivingGrants(self.tokens, self.launch_for)
        self.broken: dict[str, SkerryError | OSError] = {}
        self.launched: list[str] = []

    def launch_for(self, assignment: Assignment, instance: str) -> None:
        self.launched.append(instance)
        if error := self.broken.get(assignment.workload):
            raise error
        self.tokens.give(instance, Grant("driver", assignment.workload))

    def granted(self, *instances: str) -> list[str]:
        return [one for one in instances if self.tokens.has(one)]


@pytest.fixture
def drivers(tmp_path: Path) -> Drivers:
    return Drivers(tmp_path)


def rows(*names: str) -> dict[str, ActualWorkload]:
    return {name: live(wish(name), instance=f"i-{name}") for name in names}


@pytest.mark.parametrize(
    "error", [Transient("its view"), InvalidInput("its recipe"), OSError(30, "read-only")]
)
def test_one_that_cannot_be_taken_up_keeps_nobody_from_its_token(
    drivers: Drivers, error: SkerryError | OSError
) -> None:
    drivers.broken["b"] = error
    drivers.grants.restore(rows("a", "b", "c"))
    assert drivers.granted("i-a", "i-b", "i-c") == ["i-a", "i-c"]
    del drivers.broken["b"]
    drivers.grants.match(rows("a", "b", "c"))
    assert drivers.granted("i-a", "i-b", "i-c") == ["i-a", "i-b", "i-c"]


def test_what_was_taken_over_without_the_store_gets_its_token_again(drivers: Drivers) -> None:
    drivers.grants.restore({})
    drivers.grants.match(rows("a") | {"s": live(wish("s"), "starting", instance="i-s", pid=None)})
    assert drivers.granted("i-a", "i-s") == ["i-a"]
    beside = replace(rows("a")["a"], beside=rows("b")["b"])
    drivers.grants.match({"a": beside})
    assert drivers.granted("i-a", "i-b") == ["i-a", "i-b"]
    assert drivers.launched == ["i-a", "i-b"]
    drivers.grants.match(rows("b"))
    assert drivers.granted("i-a", "i-b") == ["i-b"]


def test_only_what_this_boot_has_started_runs() -> None:
    waits = {"w": row(wish("w"), "backoff")}
    assert running_of(rows("a") | waits, BOOT) == {"a": wish("a")}
    assert running_of(rows("a") | waits, "boot-2") == {}


def test_while_the_environment_is_not_known_programs_go_on_and_none_is_started() -> None:
    own = ["cyberwave-driver-1", "cyberwave-worker-1", ROUTER]
    others = ["cyberwave-gate", "cyberwave-broker", "cam"]
    left = LeftRunning(lambda: running_of(rows(*own, *others), BOOT), process_launch)
    assert [one.workload for one in left.wanted()] == own
    for name in own[:2]:
        with pytest.raises(Transient, match="environment is not known"):
            left.launch_for(wish(name), "i")
    bus = BusWorkloads(BusPlan(router=True), process_launch, zenoh=True)
    bus.serve(())
    [router] = bus.wanted()
    assert left.launch_for(router, "i") == bus.launch_for(router, "i")
    for name in others:
        assert left.launch_for(wish(name), "i") is None


class FullDisk(RealDisk):
    full = True

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write_atomic(label, path, data, mode)


def test_what_a_full_disk_kept_from_the_gate_is_told_as_soon_as_there_is_room(
    tmp_path: Path,
) -> None:
    disk, file = FullDisk(), tmp_path / "tokens"
    tokens, grant = Granting(b"secret", file, disk), Grant("driver", "arm")
    for _ in range(2):  # nobody has a token that the gate does not know
        with pytest.raises(OSError, match="No space"):
            tokens.give("i-a", grant)
    disk.full = False
    digest = digest_of(tokens.give("i-a", grant))
    assert digest in file.read_text()
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        tokens.keep_only(())
    disk.full = False
    tokens.keep_only(())
    assert digest not in file.read_text()
    file.write_text("{}")
    disk.full = True
    tokens = Granting(b"secret", file, disk)
    with pytest.raises(OSError, match="No space"):
        tokens.give("i-a", grant)
    disk.full = False
    tokens.keep_only(["i-a"])
    assert digest in file.read_text()
