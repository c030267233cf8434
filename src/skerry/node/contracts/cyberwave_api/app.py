"""The app with all routes, and the socket behind the gate on which it is served."""

from __future__ import annotations

import asyncio
from pathlib import Path

from skerry.gate import REQUESTS
from skerry.kit.reception import RequestLimits
from skerry.kit.socket_path import checked_socket_path
from skerry.node.api import web
from skerry.node.api.connections import Listener
from skerry.node.contracts.cyberwave_api import asking
from skerry.node.contracts.cyberwave_api.alerts import Alerts
from skerry.node.contracts.cyberwave_api.calibration import Calibrations
from skerry.node.contracts.cyberwave_api.catalog import Catalog
from skerry.node.contracts.cyberwave_api.edges import Edges
from skerry.node.contracts.cyberwave_api.logs import DriverLogs
from skerry.node.contracts.cyberwave_api.models import Models
from skerry.node.contracts.cyberwave_api.sources import Sources
from skerry.node.contracts.cyberwave_api.states import States
from skerry.node.contracts.cyberwave_api.twins import Twins

LIMITS = RequestLimits(connections=REQUESTS + 32)
"""More than the gate has: it says who may have how many."""

_SHUTDOWN_SECONDS = 1.0


def rest_app(sources: Sources) -> web.Application:
    """All routes. Whoever adds one checks that what it answers is the caller's (`asking.grant_in`)."""
    app = web.Application(
        middlewares=[asking.details, asking.only_for_holders(sources.tokens)],
        client_max_size=asking.MAX_BODY,
    )
    for part in (Twins, States, Calibrations, Alerts, Catalog, Models, Edges, DriverLogs):
        part(sources).add_to(app)
    return app


class RestSocket:
    """Serves an app at `path`, which only this user reaches."""

    def __init__(self, path: Path, app: web.Application, limits: RequestLimits = LIMITS) -> None:
        self._path = checked_socket_path(path)
        # What was begun is ended, also when its asker has gone: or a change would be made and not told of.
        self._runner = web.AppRunner(app, shutdown_timeout=_SHUTDOWN_SECONDS)
        self._limits = limits
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        """From now on the gate finds somebody there. Raises OSError."""
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101 - it was set up
        # What is there is of an agent that was killed: the store's lock says that no other one runs.
        self._path.unlink(missing_ok=True)
        factory = Listener(self._runner.server, self._limits).factory
        self._listening = await asyncio.get_running_loop().create_unix_server(factory, self._path)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """Ends all connections; what was answered is done."""
        if self._listening is not None:
            self._listening.close()
            self._path.unlink(missing_ok=True)
        await self._runner.cleanup()
