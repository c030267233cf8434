"""aiohttp's server connection with limits: half a request does not hold it, noise is neither echoed nor a traceback.

aiohttp bounds only idle connections; `kit.reception` has the limits. `sites` listens with a `Listener`, which
counts its connections. aiohttp is pinned; `tests/integration/test_half_requests.py` proves that this still works.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import StreamReader
from aiohttp.http_exceptions import HttpProcessingError

from skerry.kit.one_line import one_line
from skerry.kit.reception import Crowd, Reception, RequestLimits
from skerry.node.api import web
from skerry.node.api.answers import json_answer
from skerry.wire.last_words import CROWDED, LATE, NO_HTTP, last_words
from skerry.wire.people import Problem

log = logging.getLogger(__name__)

IDLE_SECONDS = 75.0
"""Between two requests of one connection; SDKs publish at least so often or open a new one."""


class Listener:
    """What the connections of one socket or port share. `factory` is what asyncio calls for each of them."""

    def __init__(self, server: web.Server, limits: RequestLimits) -> None:
        self.limits = limits
        self.crowd = Crowd(limits.connections)
        self.factory: Callable[[], Connection] = functools.partial(Connection, server, self)


class Connection(web.RequestHandler):
    """One connection of a listener."""

    def __init__(self, server: web.Server, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to say «none»
            logger=log,
            keepalive_timeout=IDLE_SECONDS,
        )
        self._listener = listener
        self._heard = False
        self._body: StreamReader | None = None
        self._reception = Reception(
            listener.limits, loop, self._late, lambda: self._reading_paused or self._buffer_paused
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._listener.crowd.enter(self):
            self._end_with(HTTPStatus.SERVICE_UNAVAILABLE, CROWDED)
            return
        self._reception.begin()
        self._reception.watch()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._listener.crowd.leave(self)
        self._reception.close()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        known = self._request_count
        upgraded = self._upgraded
        super().data_received(data)
        if upgraded:
            return  # what comes now is no HTTP any more, and has no end that could be late
        if not data:
            return  # aiohttp parses again what it had put aside
        self._heard = True
        if self._request_count > known:
            self._body = self._messages[-1][1]
            self._reception.head_complete()
        elif self._body is None:
            self._reception.begin()
        else:
            self._reception.body(len(data))
        if self._body is not None and self._body.is_eof():
            self._body = None
            self._reception.end()
        self._reception.watch()

    @property
    def is_idle(self) -> bool:
        """Whether it lies between two requests."""
        answering = self._current_request is not None or bool(self._messages)
        return self._reception.is_idle and not answering

    def make_room(self) -> None:
        """Ends it while it is idle."""
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp puts the stranger's own bytes into it
    ) -> web.StreamResponse:
        """The answer to noise (400) and to our own failures (500); closes the connection."""
        self.log_exception("%s %s failed", request.method, request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("cannot answer: another answer has begun")
        words = NO_HTTP if status == 400 else "cannot answer: the node failed. Its log says why."
        answer = json_answer(Problem(words), status)
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **named: Any) -> None:  # noqa: ANN401 - as logging has it
        """Malformed requests are the stranger's fault and must not fill our log."""
        error = named.get("exc_info")
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            self.logger.debug("refused what is no HTTP request: %s", one_line(str(error)))
        else:
            super().log_exception(*args, **named)

    def _late(self) -> None:
        answering = self._current_request
        has_begun = answering is not None and answering.writer.output_size > 0
        if self._heard and not has_begun:
            self._end_with(HTTPStatus.REQUEST_TIMEOUT, LATE)
        else:
            self.force_close()

    def _end_with(self, status: HTTPStatus, problem: str) -> None:
        if self.transport is not None:
            self.transport.write(last_words(status, problem))
        self.force_close()
