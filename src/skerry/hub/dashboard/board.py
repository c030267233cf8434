"""The page's content: reads what the hub knows and renders it, at most once a second for all who look."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from skerry.core.roles import Role
from skerry.hub.backups.schedule import Schedule
from skerry.hub.dashboard import chart, view
from skerry.hub.dashboard.rendering import Templates
from skerry.hub.dashboard.twin_lines import twin_lines
from skerry.hub.dashboard.workload_lines import workload_lines
from skerry.hub.data.history import Course, RecordHistory
from skerry.hub.data.query import RecordQuery
from skerry.hub.data.storage import Storage, disk_problem
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.fleet.sight import EVERYTHING, Sight
from skerry.hub.fleet.twins import Twins
from skerry.hub.fleet.workloads import Workloads
from skerry.kit.clock import NS, Clock

RENDER_EVERY = 1.0
"""Seconds that a rendering serves everybody."""

HISTORY_EVERY = 10.0
"""Seconds that the charts' lines serve everybody; computing them is the dear part."""

_EVENTS = 20

_KEPT = 10.0
"""Seconds that a rendering is kept of which nobody asks for a newer one."""

_Whose = tuple[tuple[str, str], ...]
"""The labels that a role is for; empty: everybody else's."""

Fragments = Mapping[str, str]
"""HTML by the name of the fragment, which is also the name of its server-sent event."""


class Board:
    """Renders the page's fragments."""

    def __init__(  # noqa: PLR0913 - everything that the page shows
        self,
        nodes: Nodes,
        workloads: Workloads,
        query: RecordQuery,
        history: RecordHistory,
        templates: Templates,
        clock: Clock,
        *,
        twins: Twins,
        backups: Schedule,
        storage: Storage,
    ) -> None:
        self._twins = twins
        self._backups = backups
        self._storage = storage
        self._nodes = nodes
        self._workloads = workloads
        self._query = query
        self._record_history = history
        self._templates = templates
        self._clock = clock
        self._lock = asyncio.Lock()
        self._rendered: dict[_Whose, tuple[int, Fragments]] = {}
        self._history: Mapping[str, Sequence[Course]] = {}
        self._history_at: int | None = None

    async def fragments(self, role: Role | None = None) -> Fragments:
        """The page's parts as they are now, or were within the last second, for whoever has the role."""
        whose = role.on if role is not None else ()
        async with self._lock:
            now = self._clock.monotonic_ns()
            at, fragments = self._rendered.get(whose, (None, {}))
            if at is None or now - at >= RENDER_EVERY * NS:
                sight = await self._nodes.sight(role)
                fragments = self._render(await self._snapshot(sight))
                self._rendered = {
                    key: kept for key, kept in self._rendered.items() if now - kept[0] < _KEPT * NS
                }
                self._rendered[whose] = now, fragments
            return fragments

    async def _snapshot(self, sight: Sight) -> view.Snapshot:
        now, free = self._clock.wall_ns(), self._storage.free_bytes()
        latest = await self._query.latest(nodes=sight.ids)
        events = await self._query.records(kind="event", limit=_EVENTS, nodes=sight.ids)
        await self._read_history(view.charted_names(latest, now), now)
        failing = await self._backups.problem()
        problems = (disk_problem(free), failing, self._query.damage.problem)
        return view.Snapshot(
            now=now,
            nodes=sight.nodes(await self._nodes.list()),
            workloads=await self._workloads.seen(sight),
            own=await self._workloads.of_devices(sight),
            twins=await self._twins.seen() if sight is EVERYTHING else [],
            latest=latest,
            events=events.rows,
            history={
                name: [course for course in courses if sight.named(course.node)]
                for name, courses in self._history.items()
            },
            problems=[each for each in problems if each] if sight is EVERYTHING else [],
            free=free,
        )

    async def _read_history(self, names: Sequence[str], now: int) -> None:
        monotonic = self._clock.monotonic_ns()
        fresh = self._history_at is not None and monotonic - self._history_at < HISTORY_EVERY * NS
        if fresh and set(names) <= set(self._history):
            return
        history: dict[str, list[Course]] = {name: [] for name in names}
        since = now - view.HISTORY_SECONDS * NS
        for course in await self._record_history.courses(names, since, now, chart.STEPS):
            history[course.name].append(course)
        self._history = history
        self._history_at = monotonic

    def _render(self, snapshot: view.Snapshot) -> Fragments:
        render = self._templates.render
        return {
            "summary": render("summary.html", summary=view.summary(snapshot)),
            "nodes": render(
                "nodes.html", lines=view.node_lines(snapshot), total=len(snapshot.nodes)
            ),
            "workloads": render("workloads.html", lines=workload_lines(snapshot)),
            "twins": render("twins.html", lines=twin_lines(snapshot), total=len(snapshot.twins)),
            "figures": render(
                "figures.html", cards=view.cards(snapshot), others=view.other_values(snapshot)
            ),
            "events": render("events.html", lines=view.event_lines(snapshot)),
        }
