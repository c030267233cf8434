"""Who waits for whom when everything is started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace
from tests.driver_rig import twin

from skerry.kit.bell import Bell
from skerry.kit.clock import NS
from skerry.node.drivers.device import Served
from skerry.node.drivers.health import PATIENCE
from skerry.node.drivers.order import (
    DRIVERS_PATIENCE,
    ROUTER_PATIENCE,
    STEADY,
    UNHEARD,
    OrderSources,
    StartOrder,
)
from skerry.testing.manual_clock import ManualClock
from skerry.wire.workload import (
    Assignment,
    Generation,
    LocalIntent,
    Phase,
    ProcessSpec,
    WorkloadSpec,
    WorkloadStatus,
)

ROUTER, ARM, LEG = "cyberwave-zenoh", "cyberwave-driver-a", "cyberwave-driver-b"
DRIVERS = f"waits until drivers are started: {ARM}"


def wish(name: str, command: str = "x") -> Assignment:
    spec = WorkloadSpec(name=name, process=ProcessSpec(command=[command]))
    return Assignment(name, Generation(0, 1), spec)


class Site:
    """A device that was heard of, with a router and one driver, of which nothing has been started."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.news = Bell()
        self.twins: list[Served] = [twin()]
        self.heard_at = self.clock.monotonic_ns()
        self.router: Assignment | None = wish(ROUTER)
        self.drivers = [wish(ARM)]
        self.flaps: set[str] = set()
        self.running: dict[str, Assignment] = {}
        self.shown: dict[str, WorkloadStatus] = {}
        sources = OrderSources(
            lambda: self.twins,
            lambda: max(0.0, (self.heard_at - self.clock.monotonic_ns()) / NS),
            lambda: self.router,
            lambda: self.drivers,
            lambda one: "it flaps" if one.workload in self.flaps else "",
            lambda: self.running,
            self,
        )
        self.order = StartOrder(sources, self.clock)

    def hears_in(self, seconds: float) -> None:
        """From now on nobody waits longer for a sign of life."""
        self.heard_at = self.clock.monotonic_ns() + round(seconds * NS)

    def statuses(self) -> list[WorkloadStatus]:
        return list(self.shown.values())

    def is_(
        self, name: str, phase: Phase, message: str = "", *, ready: bool = True, restarts: int = 0
    ) -> None:
        self.shown[name] = WorkloadStatus(
            name,
            Generation(0, 1),
            phase,
            self.clock.wall_ns(),
            message=message,
            ready=ready,
            restarts=restarts,
        )
        wishes = {one.workload: one for one in [*self.drivers, self.router] if one is not None}
        if phase == "running":
            self.running[name] = wishes[name]
        else:
            self.running.pop(name, None)

    def look(self) -> tuple[str, str]:
        """What drivers wait for, and workers."""
        self.order.look()
        return self.order.drivers, self.order.workers


def test_before_anybody_has_looked_all_wait() -> None:
    site = Site()
    assert (site.order.drivers, site.order.workers) == (UNHEARD, UNHEARD)


def test_a_sign_of_life_then_the_router_then_drivers_then_workers() -> None:
    site = Site()
    site.hears_in(PATIENCE)
    assert site.look() == (UNHEARD, UNHEARD)
    site.hears_in(0)
    router = f"waits for «{ROUTER}» to run"
    assert site.look() == (router, router)
    site.is_(ROUTER, "running", ready=False)
    assert site.look() == (router, router)
    site.is_(ROUTER, "running")
    assert site.look() == ("", DRIVERS)
    for phase in ("pending", "starting"):
        site.is_(ARM, phase, "pulling image acme/arm: 1 MB of 9 MB")
        assert site.look() == ("", DRIVERS)
    site.is_(ARM, "running")
    assert site.look() == ("", "")


def test_without_router_twins_and_drivers_nobody_waits() -> None:
    site = Site()
    site.hears_in(PATIENCE)
    site.twins, site.drivers, site.router = [], [], None
    assert site.look() == ("", "")


def flap(site: Site) -> None:
    site.flaps = {ARM}


@pytest.mark.parametrize(
    "given_up",
    [
        flap,
        lambda site: site.is_(ARM, "pending", "cannot start workload «a»: no such image"),
        lambda site: site.is_(ARM, "backoff"),
        lambda site: site.is_(ARM, "tripped"),
        lambda site: site.is_(ARM, "failed"),
    ],
)
def test_workers_do_not_wait_for_a_driver_that_cannot_be_started(
    given_up: Callable[[Site], None],
) -> None:
    site = Site()
    site.router = None
    assert site.look() == ("", DRIVERS)
    given_up(site)
    assert site.look() == ("", "")


def test_what_an_earlier_boot_has_left_in_the_store_does_not_count() -> None:
    site = Site()
    site.is_(ROUTER, "running")
    site.is_(ARM, "running")
    site.running.clear()
    assert site.look()[0].startswith("waits for")
    site.is_(ROUTER, "running")
    assert site.look() == ("", DRIVERS)


def test_a_router_that_cannot_start_holds_up_nobody_for_long_and_that_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    site.is_(ROUTER, "backoff")
    assert site.order.look() == ROUTER_PATIENCE
    site.clock.advance(ROUTER_PATIENCE - 0.1)
    assert site.look()[0]
    site.clock.advance(0.1)
    assert site.look() == ("", DRIVERS)
    assert "the Zenoh router has not run for 5 s" in site.order.problem
    assert site.order.problem in caplog.text
    rung = site.order.told.count
    site.look()
    assert site.order.told.count == rung
    site.is_(ROUTER, "running")
    site.look()
    assert not site.order.problem
    assert site.order.told.count == rung + 1


def test_so_is_one_that_ends_again_and_again_while_somebody_else_answers_at_its_port() -> None:
    site = Site()
    site.is_(ROUTER, "running")
    assert site.look() == ("", DRIVERS)
    for restarts in range(1, 7):
        site.is_(ROUTER, "backoff", restarts=restarts)
        site.look()
        site.clock.advance(0.5)
        site.is_(ROUTER, "running", restarts=restarts)
        site.look()
        site.clock.advance(0.5)
    site.is_(ROUTER, "running", restarts=6)
    assert site.order.look() == STEADY
    assert "has not run for 5 s" in site.order.problem
    site.clock.advance(STEADY)
    site.look()
    assert not site.order.problem


def test_one_that_is_replaced_is_waited_for_again_by_drivers() -> None:
    site = Site()
    site.is_(ROUTER, "running")
    site.is_(ARM, "running")
    assert site.look() == ("", "")
    site.router = wish(ROUTER, "at another address, too")
    assert site.look() == (f"waits for «{ROUTER}» to run", "")
    site.is_(ROUTER, "running")
    assert site.look() == ("", "")


def test_slow_drivers_hold_up_the_workers_for_a_while_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    site.router = None
    site.drivers.append(wish(LEG))
    site.is_(LEG, "running")
    assert site.order.look() == DRIVERS_PATIENCE
    site.clock.advance(DRIVERS_PATIENCE)
    assert site.look() == ("", "")
    assert f"not been within 30 s: {ARM}" in caplog.text


def test_workers_wait_once_and_again_when_everything_is_started_anew() -> None:
    site = Site()
    site.router = None
    site.is_(ARM, "running")
    assert site.look() == ("", "")
    site.is_(ARM, "starting")
    assert site.look() == ("", "")
    held = LocalIntent(stopped=True, held="everything is being restarted")
    site.drivers = [replace(wish(ARM), local=held)]
    site.is_(ARM, "stopped", "everything is being restarted")
    site.order.begin()
    assert (site.order.drivers, site.order.workers) == ("", DRIVERS)
    site.drivers = [wish(ARM)]
    site.is_(ARM, "running")
    assert site.look() == ("", "")


async def test_it_looks_when_something_has_happened_and_when_a_wait_is_over() -> None:
    site = Site()
    task = asyncio.create_task(site.order.run([site.news]))
    await _rests()
    assert site.order.drivers.startswith("waits for")
    site.is_(ROUTER, "running")
    site.news.ring()
    await _rests()
    assert (site.order.drivers, site.order.workers) == ("", DRIVERS)
    site.clock.advance(DRIVERS_PATIENCE)
    await _rests()
    assert site.order.workers == ""
    task.cancel()


async def test_a_sign_of_life_is_not_waited_for_any_longer_while_nothing_else_happens() -> None:
    site = Site()
    site.router, site.drivers = None, []
    site.hears_in(PATIENCE)
    task = asyncio.create_task(site.order.run([site.news]))
    await _rests()
    assert site.order.drivers == UNHEARD
    site.clock.advance(PATIENCE)
    await _rests()
    assert site.order.drivers == ""
    task.cancel()


async def _rests() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
