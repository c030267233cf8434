"""What people and their tools ask of the hub: nodes, tokens, workloads, log tails. Records: `records`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from litestar import MediaType, Router, delete, get, post, put
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Stream

import skerry
from skerry.hub.api.auditing import note
from skerry.hub.api.auth import (
    ANYONE,
    CONFIGURE,
    EXECUTE,
    EXECUTE_ON,
    READ,
    READ_ON,
    WRITE,
    AuthenticatedRequest,
    find_node,
)
from skerry.hub.api.bodies import WireBody
from skerry.hub.api.login_codes import LoginCodes
from skerry.hub.backups.schedule import Schedule
from skerry.hub.changes import Changes
from skerry.hub.data.query import RecordQuery
from skerry.hub.data.storage import Storage, disk_problem
from skerry.hub.enrolling import Enrolling
from skerry.hub.fleet.models import Models
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.fleet.rollouts import Rollouts
from skerry.hub.fleet.sight import EVERYTHING
from skerry.hub.fleet.tokens import Tokens
from skerry.hub.fleet.workloads import Workloads
from skerry.hub.link import Links
from skerry.hub.other_hub import FORWARDED
from skerry.hub.tails import Tails, Texts
from skerry.kit.errors import SkerryError
from skerry.wire.logs import LogQuery
from skerry.wire.models import ModelView
from skerry.wire.people import (
    Apply,
    ApplyReply,
    AssignmentView,
    BackupStatus,
    DeviceWorkload,
    Health,
    LoginCode,
    NodeDeleted,
    NodeRevoked,
    NodeView,
    Rollback,
    RolledBack,
    TokenReply,
    TokenRequest,
    WorkloadVersion,
    WorkloadView,
)
from skerry.wire.storage import StorageReport
from skerry.wire.workload import Level

_BACKUPS_FAIL = "the hub's backups fail: «skerry hub backups» says why"


@get("/healthz", opt=ANYONE)
async def healthz(
    backups: NamedDependency[Schedule],
    storage: NamedDependency[Storage],
    record_query: NamedDependency[RecordQuery],
) -> Health:
    """Says that the hub answers, and what it does not do as it should."""
    failing = await backups.problem()  # which names paths: for people who say who they are
    problems = [
        _BACKUPS_FAIL if failing else "",
        disk_problem(storage.free_bytes()),
        record_query.damage.problem,
    ]
    return Health("ok", skerry.__version__, [problem for problem in problems if problem])


@get("/api/v1/backups", opt=READ)
async def show_backups(backups: NamedDependency[Schedule]) -> BackupStatus:
    """The hub's own backups, and which ones nodes rely on."""
    return await backups.status()


@get("/api/v1/nodes", opt=READ_ON)
async def list_nodes(
    request: AuthenticatedRequest, nodes: NamedDependency[Nodes]
) -> list[NodeView]:
    """Every node with its age."""
    sight = await nodes.sight(request.user.role)
    return sight.nodes(await nodes.list())


@delete("/api/v1/nodes/{name:str}", status_code=200, opt=CONFIGURE)
async def delete_node(
    name: FromPath[str],
    nodes: NamedDependency[Nodes],
    links: NamedDependency[Links],
    changes: NamedDependency[Changes],
) -> NodeDeleted:
    """Forgets a node: it may no longer speak to the hub. Its records stay; what it runs goes on there."""
    deleted = await nodes.delete(name)
    links.end(deleted.id)
    changes.announce()
    return deleted


@post("/api/v1/nodes/{name:str}/revoke", status_code=200, opt=CONFIGURE)
async def revoke_node(
    name: FromPath[str],
    nodes: NamedDependency[Nodes],
    links: NamedDependency[Links],
    changes: NamedDependency[Changes],
) -> NodeRevoked:
    """Withdraws a node's key and secret at once: it takes part again when it has enrolled anew, in its place."""
    revoked = await nodes.revoke(name)
    links.end(revoked.id, "revoked")
    changes.announce()
    return revoked


@post("/api/v1/tokens", dto=WireBody[TokenRequest], return_dto=None, status_code=200, opt=CONFIGURE)
async def create_token(
    data: JSONBody[TokenRequest],
    tokens: NamedDependency[Tokens],
    enrolling: NamedDependency[Enrolling],
) -> TokenReply:
    """Makes an enrolment token; it is shown this once."""
    made = await tokens.create(
        data.ttl,
        uses=data.uses,
        labels=data.labels,
        hardware=data.hardware,
        name_prefix=data.name_prefix,
    )
    return enrolling.token(made)


@post("/api/v1/login-codes", status_code=200, opt=READ_ON)
async def create_login_code(
    request: AuthenticatedRequest, login_codes: NamedDependency[LoginCodes]
) -> LoginCode:
    """Makes a one-time address that signs a browser in: to look, for as long as the request's token is good."""
    return await login_codes.issue(request.user.id, request.user.bound)


@get("/api/v1/workloads", opt=READ_ON)
async def list_workloads(
    request: AuthenticatedRequest,
    nodes: NamedDependency[Nodes],
    workloads: NamedDependency[Workloads],
    name: FromQuery[str | None] = None,
) -> list[WorkloadView]:
    """Every workload as desired, with its status on each of its nodes."""
    return await workloads.seen(await nodes.sight(request.user.role), name)


@get("/api/v1/device-workloads", opt=READ_ON)
async def list_device_workloads(
    request: AuthenticatedRequest,
    nodes: NamedDependency[Nodes],
    workloads: NamedDependency[Workloads],
    name: FromQuery[str | None] = None,
) -> list[DeviceWorkload]:
    """What devices want by themselves, with its status on each."""
    return await workloads.of_devices(await nodes.sight(request.user.role), name)


@get("/api/v1/assignments", opt=READ_ON)
async def list_assignments(
    *,
    request: AuthenticatedRequest,
    nodes: NamedDependency[Nodes],
    workloads: NamedDependency[Workloads],
    workload: FromQuery[str | None] = None,
    node: FromQuery[str | None] = None,
) -> list[AssignmentView]:
    """What each node is told, with its overrides."""
    sight = await nodes.sight(request.user.role)
    if sight is EVERYTHING:
        return await workloads.assignments(workload, node)
    return sight.assignments(await workloads.assignments(), workload, node)


@put("/api/v1/workloads", dto=WireBody[Apply], return_dto=None, opt=WRITE)
async def apply_workloads(
    request: AuthenticatedRequest,
    data: JSONBody[Apply],
    workloads: NamedDependency[Workloads],
    changes: NamedDependency[Changes],
) -> ApplyReply:
    """Creates and changes workloads; deletes the unnamed ones only with `prune`."""
    how = "".join(word for word, on in (("dry run: ", data.dry_run), ("prune: ", data.prune)) if on)
    named = [each.name for each in data.workloads] + [each.name for each in data.models]
    note(request, how + ", ".join(named))
    reply = await workloads.apply(data, request.user.id)
    changed = [each for each in [*reply.workloads, *reply.models] if each.change != "unchanged"]
    note(request, how + ", ".join(f"{each.change} {each.name}" for each in changed))
    changes.announce()
    return reply


@delete("/api/v1/workloads/{name:str}", opt=WRITE)
async def delete_workload(
    request: AuthenticatedRequest,
    name: FromPath[str],
    workloads: NamedDependency[Workloads],
    changes: NamedDependency[Changes],
) -> None:
    """Ends a workload everywhere and forgets it."""
    await workloads.delete(name, request.user.id)
    changes.announce()


@post("/api/v1/workloads/{name:str}/restart", status_code=204, opt=EXECUTE_ON)
async def restart_workload(
    request: AuthenticatedRequest,
    name: FromPath[str],
    nodes: NamedDependency[Nodes],
    workloads: NamedDependency[Workloads],
    changes: NamedDependency[Changes],
) -> None:
    """Restarts a workload on every node that has it."""
    await _check_whole(request, "restart", name, nodes, workloads)
    await workloads.restart(name)
    changes.announce()


@get("/api/v1/models", opt=READ)
async def list_models(
    models: NamedDependency[Models], name: FromQuery[str | None] = None
) -> list[ModelView]:
    """Every model, with the workloads that name it. Models are made by PUT /api/v1/workloads."""
    return await models.list(name)


@delete("/api/v1/models/{name:str}", opt=WRITE)
async def delete_model(name: FromPath[str], models: NamedDependency[Models]) -> None:
    """Forgets a model that no workload names."""
    await models.delete(name)


@post("/api/v1/workloads/{name:str}/update/pause", status_code=204, opt=EXECUTE_ON)
async def pause_update(
    *,
    request: AuthenticatedRequest,
    name: FromPath[str],
    nodes: NamedDependency[Nodes],
    workloads: NamedDependency[Workloads],
    rollouts: NamedDependency[Rollouts],
    changes: NamedDependency[Changes],
) -> None:
    """Gives a change that goes through the nodes in waves to no further node."""
    await _check_whole(request, "pause the update of", name, nodes, workloads)
    await rollouts.pause(name)
    changes.announce()


@post("/api/v1/workloads/{name:str}/update/resume", status_code=204, opt=EXECUTE_ON)
async def resume_update(
    *,
    request: AuthenticatedRequest,
    name: FromPath[str],
    nodes: NamedDependency[Nodes],
    workloads: NamedDependency[Workloads],
    rollouts: NamedDependency[Rollouts],
    changes: NamedDependency[Changes],
) -> None:
    """Lets a paused change go on; nodes that have failed are passed over."""
    await _check_whole(request, "resume the update of", name, nodes, workloads)
    await rollouts.resume(name)
    changes.announce()


@post("/api/v1/workloads/{name:str}/update/abort", status_code=204, opt=EXECUTE)
async def abort_update(
    request: AuthenticatedRequest,
    name: FromPath[str],
    workloads: NamedDependency[Workloads],
    changes: NamedDependency[Changes],
) -> None:
    """Takes a change that is under way back."""
    await workloads.abort(name, request.user.id)
    changes.announce()


@get("/api/v1/workloads/{name:str}/history", opt=READ)
async def workload_history(
    name: FromPath[str], workloads: NamedDependency[Workloads]
) -> list[WorkloadVersion]:
    """What a workload was told to be, the newest last; of deleted workloads, too."""
    return await workloads.history(name)


@post(
    "/api/v1/workloads/{name:str}/rollback",
    dto=WireBody[Rollback],
    return_dto=None,
    status_code=200,
    opt=EXECUTE,
)
async def roll_workload_back(
    request: AuthenticatedRequest,
    name: FromPath[str],
    data: JSONBody[Rollback],
    workloads: NamedDependency[Workloads],
    changes: NamedDependency[Changes],
) -> RolledBack:
    """Makes an earlier version of a workload the wanted one again, as a new version."""
    reply = await workloads.rollback(name, data, request.user.id)
    changes.announce()
    return reply


@get("/api/v1/storage", opt=READ)
async def read_storage(storage: NamedDependency[Storage]) -> StorageReport:
    """What uses the hub's disk, and why it is kept."""
    return await storage.report()


@get("/api/v1/nodes/{node:str}/logs/{workload:str}", media_type=MediaType.TEXT, opt=READ_ON)
async def tail_log(  # noqa: PLR0913 - one argument for each query parameter
    *,
    request: AuthenticatedRequest,
    node: FromPath[str],
    workload: FromPath[str],
    nodes: NamedDependency[Nodes],
    tails: NamedDependency[Tails],
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
    level: FromQuery[Level | None] = None,
    follow: FromQuery[bool] = False,
) -> Stream:
    """A workload's log lines through the node's live link, as text; without `since`, the last 100 lines.

    Without `follow` at most about 32 MiB. `level` leaves out milder lines, and those that state none.
    """
    node_id = await find_node(request, nodes, node, f"read logs of «{workload:.80}»")
    query = LogQuery(since, until, level, follow)
    forwarded = FORWARDED in request.headers
    tail = await tails.open(node_id, node, workload, query.arguments(), forwarded=forwarded)
    # Runs at the end in any case; a generator's own clean-up would wait for the garbage collector.
    close = BackgroundTask(tail.close)
    return Stream(_with_last_words(tail), media_type=MediaType.TEXT, background=close)


async def _check_whole(
    request: AuthenticatedRequest, verb: str, name: str, nodes: Nodes, workloads: Workloads
) -> None:
    """Who acts on a workload acts on all of its nodes. Raises NotFound and Refused where some are not seen."""
    sight = await nodes.sight(request.user.role)
    if sight is not EVERYTHING:
        sight.check_whole(verb, name, await workloads.list())


async def _with_last_words(tail: Texts) -> AsyncIterator[str]:
    """`tail`, and a line that says why it ended early: the status line has long been sent."""
    try:
        async for text in tail:
            yield text
    except SkerryError as error:
        yield f"skerry: {error}\n"


def people_routes() -> Router:
    """Every route that people use, and the health check."""
    return Router(
        "/",
        route_handlers=[
            healthz,
            show_backups,
            list_nodes,
            delete_node,
            revoke_node,
            create_token,
            create_login_code,
            list_workloads,
            list_device_workloads,
            list_assignments,
            apply_workloads,
            delete_workload,
            restart_workload,
            list_models,
            delete_model,
            pause_update,
            resume_update,
            abort_update,
            workload_history,
            roll_workload_back,
            read_storage,
            tail_log,
        ],
    )
