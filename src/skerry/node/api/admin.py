"""What the person at the device may ask: the admin socket, and the read-only port for monitoring."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Protocol

from skerry.node.api import web
from skerry.node.api.answers import (
    integer,
    json_answer,
    only_for,
    problems,
    stream_bytes,
    stream_lines,
    tell_lines,
)
from skerry.node.api.guard import AdminGuard, deed_of, note
from skerry.node.api.workload import RecordReader, RowStream, read_records, stream_rows
from skerry.node.data.publish import read_publish
from skerry.node.ports import LogSource
from skerry.wire.codec import decode, encode
from skerry.wire.cyberwave import DriverOrdered
from skerry.wire.local import (
    Doctor,
    Held,
    ImageLoad,
    ImagesLoaded,
    KeyStatus,
    NewPassphrase,
    NodeStatus,
    RunNews,
    StopRequest,
    SyncStatus,
    WorkerOrder,
    WorkerStatus,
)
from skerry.wire.logs import read_log_query
from skerry.wire.models import ModelCache
from skerry.wire.records import Publish, Published
from skerry.wire.workload import WorkloadSpec

if TYPE_CHECKING:
    from skerry.core.audit_entries import Deed
    from skerry.node.channel_port import ServedChannel
    from skerry.wire.executions import Wish
    from skerry.wire.rounds import SyncLogPage, SyncRound
    from skerry.wire.stick import ReceiptTaken
    from skerry.wire.storage import StorageReport


_PATIENCE = 30
"""Seconds for a sync on request, where nobody says how many."""

_LINES, _MOST_LINES = 50, 2000


class AdminServices(Protocol):
    """The features behind the admin socket."""

    @property
    def logs(self) -> LogSource: ...

    @property
    def data(self) -> RecordReader: ...

    async def status(self) -> NodeStatus: ...

    async def sync_status(self) -> SyncStatus: ...

    async def sync_now(self, seconds: float) -> SyncRound:
        """Returns when it has ended, after so many seconds at the latest. Raises Refused without a hub."""
        ...

    async def sync_log(self, limit: int) -> SyncLogPage: ...

    async def doctor(self) -> Doctor: ...

    async def security(self) -> Doctor:
        """What is weak here."""
        ...

    async def storage(self) -> StorageReport: ...

    async def stop(self, request: StopRequest) -> None:
        """Begins to end the node; with `workloads`, returns when they have ended."""
        ...

    async def run(self, spec: WorkloadSpec, tell: Callable[[RunNews], Awaitable[None]]) -> None:
        """Runs a workload in the foreground; returns when it has ended. Raises InvalidInput or Refused."""
        ...

    async def execute(self, channel: ServedChannel, workload: str, wish: Wish, deed: Deed) -> None:
        """Runs a command beside a workload until either ends, and enters it. Raises what prevents or ends it."""
        ...

    async def publish(self, request: Publish) -> Published:
        """As a workload does. Raises InvalidInput, StorageFull, Transient."""
        ...

    def subscribe(self, name: str, kind: str | None, cursor: str | None) -> RowStream: ...

    async def unlock(self, workload: str) -> Held:
        """A person lets updates through. Raises NotFound or Refused."""
        ...

    async def start_driver(self, twin: str) -> DriverOrdered:
        """A person says that a driver that flaps is to be started. Raises NotFound, Refused, Transient."""
        ...

    async def load_images(self, request: ImageLoad) -> ImagesLoaded:
        """Returns when the engine has them. Raises InvalidInput, Refused or Transient."""
        ...

    async def models(self) -> ModelCache: ...

    def key_status(self) -> KeyStatus: ...

    def rotate_keys(self) -> KeyStatus:
        """Returns at once; new keys follow, then everything is sealed with them. Raises Refused."""
        ...

    async def export(self, room: int, part: int) -> AsyncIterator[bytes]:
        """Frames of the files for a stick (`wire.stick`). Raises Refused."""
        ...

    async def take_receipt(self, data: bytes) -> ReceiptTaken:
        """Learns what the hub took from a stick. Raises Refused or InvalidInput."""
        ...

    async def change_passphrase(self, wish: NewPassphrase) -> KeyStatus:
        """Returns when it opens the keys. Raises Refused, Transient."""
        ...

    def worker_groups(self) -> list[WorkerStatus]: ...

    async def order_worker(self, workload: str, order: WorkerOrder) -> None:
        """Returns when the order is durable. Raises NotFound."""
        ...


def admin_app(services: AdminServices, guard: AdminGuard) -> web.Application:
    """GET /v1/status, sync, sync/log, doctor, storage, logs/{workload}, records, models, workers; POST: see below.

    Each route declares its permission to the `guard`.
    """

    async def status(_request: web.Request) -> web.StreamResponse:
        return json_answer(await services.status())

    async def sync_status(_request: web.Request) -> web.StreamResponse:
        return json_answer(await services.sync_status())

    async def doctor(_request: web.Request) -> web.StreamResponse:
        return json_answer(await services.doctor())

    async def logs(request: web.Request) -> web.StreamResponse:
        lines = services.logs.read(request.match_info["workload"], read_log_query(request.query))
        return await stream_lines(request, lines, "text/plain; charset=utf-8")

    async def records(request: web.Request) -> web.StreamResponse:
        return json_answer(await read_records(services.data, request))

    async def stop_node(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        wish = decode(body, StopRequest, "stop request") if body else StopRequest()
        note(request, "with its workloads" if wish.workloads else "")
        await services.stop(wish)
        return json_answer({})

    async def load_images(request: web.Request) -> web.StreamResponse:
        wish = decode(await request.read(), ImageLoad, "order to load images")
        return json_answer(await services.load_images(wish))

    async def models(_request: web.Request) -> web.StreamResponse:
        return json_answer(await services.models())

    async def unlock_updates(request: web.Request) -> web.StreamResponse:
        return json_answer(await services.unlock(request.match_info["workload"]))

    app = web.Application(middlewares=[problems, guard.middleware])
    guard.get(app, "/v1/models", models, "read")
    guard.get(app, "/v1/status", status, "read")
    guard.get(app, "/v1/sync", sync_status, "read")
    _add_sync(app, services, guard)
    guard.get(app, "/v1/doctor", doctor, "read")
    guard.get(app, "/v1/logs/{workload}", logs, "read")
    guard.get(app, "/v1/records", records, "read")
    guard.post(app, "/v1/stop", stop_node, "execute", entry="if possible")
    guard.post(app, "/v1/images", load_images, "write")
    guard.post(app, "/v1/unlock/{workload}", unlock_updates, "execute")
    _add_storage(app, services, guard)
    _add_keys(app, services, guard)
    _add_stick(app, services, guard)
    _add_workers(app, services, guard)
    _add_runs(app, services, guard)
    return app


def _add_runs(app: web.Application, services: AdminServices, guard: AdminGuard) -> None:
    async def run_workload(request: web.Request) -> web.StreamResponse:
        spec = decode(await request.read(), WorkloadSpec, "workload to run")
        note(request, f"workload «{spec.name}», in the foreground")
        return await tell_lines(request, partial(services.run, spec))

    async def execute(request: web.Request) -> web.StreamResponse:
        from skerry.node.api.executions import converse  # noqa: PLC0415 - only when somebody asks

        deed = deed_of(request)
        run = partial(services.execute, workload=request.match_info["workload"], deed=deed)
        return await converse(request, run, deed)

    async def publish(request: web.Request) -> web.StreamResponse:
        return json_answer(await services.publish(read_publish(await request.read())))

    async def subscribe(request: web.Request) -> web.StreamResponse:
        return await stream_rows(services.subscribe, request)

    guard.post(app, "/v1/runs", run_workload, "write")
    guard.get(app, "/v1/exec/{workload}", execute, "execute", entry="own")
    guard.post(app, "/v1/publish", publish, "write", entry="none")
    guard.get(app, "/v1/subscribe", subscribe, "read")


def _add_sync(app: web.Application, services: AdminServices, guard: AdminGuard) -> None:
    async def sync_now(request: web.Request) -> web.StreamResponse:
        seconds = integer(request, "seconds")
        return json_answer(await services.sync_now(_PATIENCE if seconds is None else seconds))

    async def log(request: web.Request) -> web.StreamResponse:
        limit = integer(request, "limit") or _LINES
        return json_answer(await services.sync_log(min(limit, _MOST_LINES)))

    guard.post(app, "/v1/sync/now", sync_now, "execute", entry="if possible")
    guard.get(app, "/v1/sync/log", log, "read")


def _add_storage(app: web.Application, services: AdminServices, guard: AdminGuard) -> None:
    async def storage(_request: web.Request) -> web.StreamResponse:
        return json_answer(await services.storage())

    async def security(_request: web.Request) -> web.StreamResponse:
        return json_answer(await services.security())

    guard.get(app, "/v1/security", security, "read")
    guard.get(app, "/v1/storage", storage, "read")


def _add_keys(app: web.Application, services: AdminServices, guard: AdminGuard) -> None:
    async def keys(_request: web.Request) -> web.StreamResponse:
        return json_answer(services.key_status())

    async def rotate_keys(_request: web.Request) -> web.StreamResponse:
        return json_answer(services.rotate_keys())

    async def change_passphrase(request: web.Request) -> web.StreamResponse:
        wish = decode(await request.read(), NewPassphrase, "a new passphrase")
        return json_answer(await services.change_passphrase(wish))

    guard.post(app, "/v1/keys/passphrase", change_passphrase, "configure")
    guard.get(app, "/v1/keys", keys, "read")
    guard.post(app, "/v1/keys/rotate", rotate_keys, "configure")


def _add_stick(app: web.Application, services: AdminServices, guard: AdminGuard) -> None:
    async def export_data(request: web.Request) -> web.StreamResponse:
        room, part = integer(request, "room") or 0, integer(request, "part") or 0
        return await stream_bytes(request, await services.export(room, part))

    async def take_receipt(request: web.Request) -> web.StreamResponse:
        return json_answer(await services.take_receipt(await request.read()))

    guard.get(app, "/v1/stick", export_data, "execute")
    guard.post(app, "/v1/stick/receipt", take_receipt, "execute")


def _add_workers(app: web.Application, services: AdminServices, guard: AdminGuard) -> None:
    async def worker_groups(_request: web.Request) -> web.StreamResponse:
        return json_answer(services.worker_groups())

    async def order_worker(request: web.Request) -> web.StreamResponse:
        order = decode(await request.read(), WorkerOrder, "order for a worker group")
        note(request, f"order {order.order}")
        await services.order_worker(request.match_info["workload"], order)
        return json_answer({})

    async def start_driver(request: web.Request) -> web.StreamResponse:
        return json_answer(await services.start_driver(request.match_info["twin"]))

    guard.post(app, "/v1/drivers/{twin}/start", start_driver, "execute")
    guard.get(app, "/v1/workers", worker_groups, "read")
    guard.post(app, "/v1/workers/{workload}", order_worker, "execute")


def as_searched(status: SyncStatus) -> bytes:
    """`status` as JSON that holds the word «success» in its result or not at all, for scripts that search it as text.

    What a hub or a proxy has said may hold the word as well: then one of its letters is escaped.
    """
    body = encode(status)
    return body if status.result == "success" else body.replace(b"success", b"succes\\u0073")


def public_app(services: AdminServices, hosts: Collection[str]) -> web.Application:
    """GET /status, /sync/status, /healthz on loopback: for monitoring scripts, nothing that changes anything.

    Only for requests to one of `hosts`, so that no page in a browser on this machine can read it.
    """

    async def status(_request: web.Request) -> web.StreamResponse:
        return json_answer(await services.status())

    async def sync_status(_request: web.Request) -> web.StreamResponse:
        body = as_searched(await services.sync_status())
        return web.Response(body=body, content_type="application/json")

    async def healthz(_request: web.Request) -> web.StreamResponse:
        return json_answer({"ok": True})

    app = web.Application(middlewares=[problems, only_for(hosts)])
    app.router.add_get("/status", status)
    app.router.add_get("/sync/status", sync_status)
    app.router.add_get("/healthz", healthz)
    return app
