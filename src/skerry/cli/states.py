"""What `node status` and `sync status` say above their tables."""

from __future__ import annotations

from collections.abc import Iterator

from skerry.cli.output import Line, pairs, word
from skerry.kit.clock import NS, iso
from skerry.kit.units import format_duration, write_duration
from skerry.node.health.link_checks import network_words
from skerry.wire.cyberwave import CyberwaveStatus
from skerry.wire.local import EntityStatus, LinkStatus, NodeStatus, SyncStatus

_NO_ENVIRONMENT = (
    "none, so no driver is started: set cyberwave.environment, or write environment.json"
)


def node_lines(status: NodeStatus, now_ns: int) -> Iterator[Line]:
    """Who the node is, its link, its problems."""
    labels = f" ({pairs(status.labels).text})" if status.labels else ""
    yield Line(f"node      {status.name}{labels}, skerry {status.version}, process {status.pid}")
    yield Line(f"data      {status.data_dir}")
    yield Line(f"hub       {link_sentence(status.link, now_ns)}", word(status.link.state).style)
    for problem in status.problems:
        yield Line(f"problem   {problem}", "yellow")
    if status.cyberwave is not None:
        yield from cyberwave_lines(status.cyberwave, now_ns)


def cyberwave_lines(status: CyberwaveStatus, now_ns: int) -> Iterator[Line]:
    """The documented lines, and the twins with their drivers."""
    yield Line(
        f"cyberwave {status.fingerprint}, environment {status.environment or _NO_ENVIRONMENT}",
        "" if status.environment else "yellow",
    )
    for tick in status.ticks:
        sign, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("—", "")}[tick.ok]
        took = "" if tick.seconds is None else f" ({tick.seconds:.3f}s)"
        yield Line(f"  {sign} {tick.name}{took}: {tick.detail}", style)
    for problem in status.problems:
        yield Line(f"  problem {problem}", "yellow")
    if status.environment and not status.drivers:
        yield Line(
            f"  no twin is linked to it: a twin's metadata.edge_fingerprint has to be {status.fingerprint}",
            "yellow",
        )
    for one in status.drivers:
        runs = one.workload or ("no driver" if one.problem else "no driver of its own")
        if one.flapping is not None:
            lasting = format_duration((now_ns - one.flapping) / NS)
            yield Line(f"  twin {one.name} ({one.twin}): {runs}, flapping for {lasting}", "red")
        elif one.problem:
            yield Line(f"  twin {one.name} ({one.twin}): {runs}: {one.problem}", "red")
        else:
            yield Line(f"  twin {one.name} ({one.twin}): {runs}")


def sync_lines(status: SyncStatus, now_ns: int) -> Iterator[Line]:
    """The last round, the link, what holds lanes up."""
    yield Line(f"result    {status.result}", word(status.result).style)
    yield Line(f"hub       {link_sentence(status.link, now_ns)}", word(status.link.state).style)
    if status.last_synced is not None:
        yield Line(f"synced    {format_duration((now_ns - status.last_synced) / NS)} ago")
    if status.failures:
        yield Line(f"failed    {status.failures} rounds in a row", "yellow")
    if status.network is not None:
        style = "yellow" if status.network.only_high else ""
        for words in network_words(status.network):
            yield Line(f"network   {words}", style)
    for entity in status.entities:
        yield Line(f"rows      {entity_sentence(entity)}", "yellow" if entity.overruled else "")
    for lane in status.lanes:
        if lane.parked:
            yield Line(
                f"parked    lane {lane.lane}: refused {status.failures} times, kept", "yellow"
            )
    for problem in sorted({*status.problems, *(lane.problem for lane in status.lanes)} - {""}):
        yield Line(f"problem   {problem}", "yellow")


def entity_sentence(entity: EntityStatus) -> str:
    """«recipe: merge, high, at most 50 together; 3 edits wait»."""
    words = (
        f"{entity.name}: {entity.strategy}, {entity.priority}, at most {entity.batch_size} together"
    )
    if entity.schedule is not None:
        when = "at the latest every" if entity.priority == "high" else "every"
        words += f", {when} {write_duration(entity.schedule)}"
    if entity.waiting:
        words += f"; {entity.waiting} edits wait"
    if entity.overruled:
        words += f"; the settings here are overruled ({', '.join(entity.overruled)})"
    return words


def link_sentence(link: LinkStatus, now_ns: int) -> str:
    """«offline for 5m 3s (since 2026-…) to http://…: connection refused»."""
    if link.state == "standalone":
        return f"standalone: {link.cause}"
    lasting = format_duration((now_ns - link.since) / NS)
    cause = f": {link.cause}" if link.cause else ""
    return f"{link.state} for {lasting} (since {iso(link.since)}) to {link.hub}{cause}"
