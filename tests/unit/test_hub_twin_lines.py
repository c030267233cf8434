"""The page's table of twins: what stands in it, in which order. Pure."""

from __future__ import annotations

import pytest
from msgspec.structs import replace as changed

from skerry.core.cyberwave.shown import DriverState
from skerry.hub.dashboard.rendering import Templates
from skerry.hub.dashboard.twin_lines import TwinLine, twin_lines
from skerry.hub.dashboard.view import Snapshot
from skerry.hub.fleet.twins import OpenAlert, TwinView
from skerry.kit.clock import NS, iso
from skerry.wire.people import NodeView

NOW = 1_800_000_000 * NS
SINCE = iso(NOW - 65 * NS)


def twin(
    name: str,
    driver: DriverState = "online",
    *alerts: OpenAlert,
    nodes: tuple[str, ...] = ("a",),
    since: str = SINCE,
    device: str = "",
) -> TwinView:
    return TwinView(f"uuid-of-{name}", name, nodes, device, driver, since, alerts)


def alert(severity: str, seen: int = 0, status: str = "active", text: str = "t") -> OpenAlert:
    return OpenAlert("driver_health", severity, status, text, iso(NOW + seen * NS))


def lines(*twins: TwinView) -> list[TwinLine]:
    node = NodeView("id-a", "a", {}, True, NOW, 1.0, "0.1", NOW, 1, 1)
    away = changed(node, id="id-b", name="b", online=False, age=90.0)
    return twin_lines(Snapshot(NOW, (node, away), (), (), (), {}, twins=twins))


@pytest.mark.parametrize(
    ("driver", "tone", "duration"),
    [("online", "good", "1m 5s"), ("silent", "busy", "1m 5s"), ("offline", "bad", "1m 5s")],
)
def test_a_line_says_how_the_driver_is(driver: DriverState, tone: str, duration: str) -> None:
    [line] = lines(twin("arm", driver))
    assert (line.name, line.node, line.driver, line.tone) == ("arm", "a", driver, tone)
    assert (line.duration, line.detail) == (duration, "")


@pytest.mark.guarantee("G5")
def test_what_an_offline_node_said_of_a_driver_is_marked_as_old() -> None:
    [line, other, unheard] = lines(
        twin("arm", nodes=("b",)),
        twin("leg", nodes=(), device="far-1"),
        twin("toe", "never heard", nodes=("b",), since=""),
    )
    assert (line.driver, line.tone, line.duration) == ("unknown", "idle", "")
    assert line.detail == "was online: the node is offline"
    assert (other.node, other.detail) == ("far-1", "was online: no node of the fleet is its device")
    assert (unheard.driver, unheard.detail) == ("never heard", "")


def test_trouble_comes_first_then_names() -> None:
    found = lines(
        twin("d"), twin("c", "offline"), twin("b", "online", alert("warning")),
        twin("a", "online", alert("info")), twin("e", "online", alert("critical")),
    )  # fmt: skip
    assert [line.name for line in found] == ["c", "e", "a", "b", "d"]


def test_the_gravest_alerts_are_shown_and_the_newest_of_them() -> None:
    [line] = lines(
        twin(
            "arm", "online", alert("info", text="1"), alert("warning", 1, text="2"), alert("error", 1, "acknowledged", "3"),
            alert("error", 2, text="4"), alert("?", 2, text="5"),
        )
    )  # fmt: skip
    assert [(one.tone, one.text) for one in line.alerts] == [("bad", "4"), ("bad", "3"), ("busy", "5")]  # fmt: skip
    assert (line.alerts[1].kind, line.more) == ("driver_health, acknowledged", 2)


@pytest.mark.parametrize("since", ["", "soon", iso(NOW + 9 * NS), "9999-12-31T23:59:59-23:59"])
def test_a_time_that_is_none_is_not_shown(since: str) -> None:
    [line] = lines(twin("arm", since=since))
    assert line.duration == ""


def test_without_twins_there_is_no_table_and_no_text() -> None:
    templates = Templates("fleet", "1")
    assert templates.render("twins.html", lines=[], total=0) == "<!-- no twins -->"
    html = templates.render("twins.html", lines=lines(twin("<b>arm</b>")), total=2)
    assert "<b>" not in html
    assert "and 1 more" in html
