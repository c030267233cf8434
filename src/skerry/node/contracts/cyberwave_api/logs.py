"""The lines of drivers' logs, the newest first, as the node keeps them."""

from __future__ import annotations

import hashlib
import heapq
import uuid
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

from skerry.core.cyberwave.driver_logs import EDGE_CORE, level_in, words_of
from skerry.core.log_lines import parse_line
from skerry.core.merging.bodies import Body
from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput, NotFound
from skerry.kit.one_line import one_line
from skerry.node.api import web
from skerry.node.api.answers import json_answer
from skerry.node.contracts.cyberwave_api.asking import (
    grant_in,
    named,
    no_such,
    page,
    twin_in,
    uuid_or,
)
from skerry.node.contracts.cyberwave_api.sources import Sources
from skerry.wire.logs import LogQuery

_DEFAULT, _MOST, _FARTHEST = 100, 1000, 10_000
"""Lines of one answer, and how far back its last may be: that many are held while the log is read."""


class _Line(NamedTuple):
    """In the order of time; `number` keeps lines of one moment apart."""

    at: str
    number: int
    twin: str
    workload: str
    level: str
    text: str


class DriverLogs:
    """The routes of a twin's and of an environment's drivers' logs."""

    def __init__(self, sources: Sources) -> None:
        self._environment = sources.environment
        self._twins = sources.twins
        self._logs = sources.logs
        self._driver_of = sources.driver_of
        self._log_since = sources.log_since

    def add_to(self, app: web.Application) -> None:
        """Adds the routes."""
        app.router.add_get("/api/v1/twins/{twin}/logs", self.of_twin)
        app.router.add_get("/api/v1/environments/{environment}/driver-logs", self.of_environment)

    async def of_twin(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, [twin_in(request, self._twins).uuid])

    async def of_environment(self, request: web.Request) -> web.StreamResponse:
        if named(request, "environment") != self._environment:
            raise no_such("environment", named(request, "environment"))
        own = grant_in(request).twins
        asked = [
            uuid_or(one.strip())
            for text in request.query.getall("twin_uuids", [])
            for one in text.split(",")
        ]
        return await self._answered(request, [twin for twin in own if twin in (asked or own)])

    async def _answered(self, request: web.Request, twins: Collection[str]) -> web.StreamResponse:
        limit, offset = page(request, _DEFAULT, _MOST)
        if offset + limit > _FARTHEST:
            raise InvalidInput(
                f"cannot show more than the last {_FARTHEST} lines: narrow «start» and «end»"
            )
        total, newest = 0, list[_Line]()
        async for line in self._lines(request, twins):
            total += 1
            heapq.heappush(newest, line)
            if len(newest) > offset + limit:
                heapq.heappop(newest)
        newest.sort(reverse=True)
        counted = request.query.get("include_total", "true").lower() != "false"
        answer = {
            "items": [_shown(line) for line in newest[offset : offset + limit]],
            "total": total if counted else None,
            "limit": limit,
            "offset": offset,
            "has_more": total > offset + limit,
        }
        return json_answer(answer)

    async def _lines(self, request: web.Request, twins: Collection[str]) -> AsyncIterator[_Line]:
        """All that the query asks for, of each twin in order; their levels are those that they have on the topic."""
        start, end = _time(request, "start") or 0, _time(request, "end")
        wanted = {word.strip().upper() for word in request.query.get("level", "").split(",")} - {""}
        numbers = count()
        for twin in twins:
            workload = self._driver_of(twin)
            since = None if workload is None else self._log_since(workload, twin)
            if workload is None or since is None:
                continue
            span = LogQuery(since=max(start, since), until=end)
            try:
                lines = self._logs.read(workload, span)
            except NotFound:  # it has not run yet
                continue
            async for text in lines:
                line = parse_line(text)
                if line is None:
                    continue
                message = words_of(line.text)
                level = level_in(message)
                if not wanted or level in wanted:
                    yield _Line(line.at, next(numbers), twin, workload, level, message)


def _shown(line: _Line) -> Body:
    sign = hashlib.sha256(f"{line.workload} {line.at} {line.text}".encode()).digest()
    return {
        "uuid": str(uuid.UUID(bytes=sign[:16], version=5)),
        "twin_uuid": line.twin,
        "timestamp": line.at,
        "level": line.level,
        "message": line.text,
        "container_name": line.workload,
        "source": "edge",
        "edge_core_version": EDGE_CORE,
        "sdk_version": None,
        "driver_image": None,
        "metadata": {},
    }


def _time(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            f"cannot read {name}=«{one_line(text[:60])}»: it is no ISO time"
        ) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * NS)
