"""The hub's ASGI application: routes, the guard before them, bodies and errors around them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

from litestar import Litestar, Router

from skerry.hub.api.access import access_routes
from skerry.hub.api.accounts import account_routes
from skerry.hub.api.audit import audit_routes
from skerry.hub.api.auditing import AuditedAnswers, Auditing
from skerry.hub.api.auth import Authenticator, Door
from skerry.hub.api.blobs import blob_routes
from skerry.hub.api.bodies import ZstdBodies
from skerry.hub.api.bundles import bundle_routes
from skerry.hub.api.dependencies import give, resolve_one_by_one
from skerry.hub.api.devices import device_routes
from skerry.hub.api.entities import entity_routes
from skerry.hub.api.executions import execution_routes
from skerry.hub.api.files import file_routes
from skerry.hub.api.headers import PeopleHeaders
from skerry.hub.api.keys import key_routes
from skerry.hub.api.login_codes import LoginCodes
from skerry.hub.api.node_door import NodeDoor
from skerry.hub.api.node_logs import node_log_routes
from skerry.hub.api.nodes import node_routes
from skerry.hub.api.people import healthz, people_routes
from skerry.hub.api.problems import HANDLERS
from skerry.hub.api.records import record_routes
from skerry.hub.api.row_ids import EscapedSlashes
from skerry.hub.api.schema import document
from skerry.hub.api.secrets import secret_routes
from skerry.hub.api.signing_in import Signing, signing_in_routes
from skerry.hub.api.ssh import ssh_routes
from skerry.hub.api.standing import StandingRequests
from skerry.hub.api.stick import stick_routes
from skerry.hub.api.trust import elsewhere_routes, root_routes, trust_routes
from skerry.hub.api.tunnels import tunnel_routes
from skerry.hub.backups.schedule import Schedule
from skerry.hub.bundles import Bundles
from skerry.hub.changes import Changes
from skerry.hub.dashboard.board import Board
from skerry.hub.dashboard.pages import page_routes
from skerry.hub.dashboard.rendering import Templates
from skerry.hub.data.completeness import Completeness
from skerry.hub.data.export import RecordExport
from skerry.hub.data.query import RecordQuery
from skerry.hub.data.storage import Storage
from skerry.hub.enrolling import Enrolling
from skerry.hub.files.arrivals import Arrivals
from skerry.hub.files.shelf import Shelf
from skerry.hub.fleet.devices import Devices
from skerry.hub.fleet.models import Models
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.fleet.retiring import Retiring
from skerry.hub.fleet.rollouts import Rollouts
from skerry.hub.fleet.secrets import Secrets
from skerry.hub.fleet.tokens import Tokens
from skerry.hub.fleet.workloads import Workloads
from skerry.hub.hearing import Hearing
from skerry.hub.link import Links
from skerry.hub.peers import Peers
from skerry.hub.ports import Blobs
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.leases import Leases
from skerry.hub.store.rotation import Rotation
from skerry.hub.store.tables import FLEET
from skerry.hub.sync.carrying import Carrying
from skerry.hub.sync.hello import Greeter
from skerry.hub.sync.model_rows import ModelRows
from skerry.hub.sync.pull import Feed
from skerry.hub.sync.push import Receiver
from skerry.hub.sync.rounds import Rounds
from skerry.hub.sync.rows_pull import RowFeed
from skerry.hub.sync.shared_rows import SharedRows
from skerry.hub.tails import Tails
from skerry.hub.trust.accounts import Accounts
from skerry.hub.trust.api_tokens import ApiTokens
from skerry.hub.trust.audit import AuditLog
from skerry.hub.trust.node_logs import NodeLogs
from skerry.hub.trust.roles import Roles
from skerry.hub.trust.sessions import Sessions
from skerry.hub.trust.ssh_authority import SshAuthority
from skerry.hub.trust.standing import Standing
from skerry.hub.tunnels import Tunnels
from skerry.kit.clock import Clock
from skerry.wire.codec import MAX_BODY


@dataclass(frozen=True)
class Features:
    """What routes may ask for: a handler's argument of a field's name gets the field's value."""

    store: HubStore
    nodes: Nodes
    enrolling: Enrolling
    tokens: Tokens
    devices: Devices
    retiring: Retiring
    workloads: Workloads
    models: Models
    secrets: Secrets
    blobs: Blobs
    file_blobs: Blobs
    arrivals: Arrivals
    shelf: Shelf
    rollouts: Rollouts
    record_query: RecordQuery
    record_export: RecordExport
    completeness: Completeness
    storage: Storage
    greeter: Greeter
    receiver: Receiver
    carrying: Carrying
    feed: Feed
    row_feed: RowFeed
    rounds: Rounds
    shared_rows: SharedRows
    model_rows: ModelRows
    links: Links
    peers: Peers
    tails: Tails
    tunnels: Tunnels
    bundles: Bundles
    ssh_authority: SshAuthority
    hearing: Hearing
    leases: Leases
    backups: Schedule
    rotation: Rotation
    changes: Changes
    board: Board
    templates: Templates
    api_tokens: ApiTokens
    authenticator: Authenticator
    standing: Standing
    audit: AuditLog
    auditing: Auditing
    node_logs: NodeLogs
    accounts: Accounts
    roles: Roles
    signing: Signing
    sessions: Sessions
    login_codes: LoginCodes
    clock: Clock


def build_app(features: Features, nodes_app: Litestar | None = None) -> Litestar:
    """People's application. Nodes are served by it, too, unless they have `nodes_app`."""
    of_nodes = node_routes() if nodes_app is None else elsewhere_routes(features.enrolling.address)
    app = _app(features, features.authenticator, [of_nodes, *_of_people()])
    routes = [*app.routes, *(nodes_app.routes if nodes_app else ())]
    app.state.openapi = functools.cache(lambda: document(routes))
    return app


def build_nodes_app(features: Features) -> Litestar:
    """The application of the listener for nodes, where they show certificates."""
    door = NodeDoor(FLEET, features.nodes, features.clock, features.retiring.order_for_key)
    health = Router("/", route_handlers=[healthz])
    return _app(features, door, [node_routes(), trust_routes(), health])


def _of_people() -> list[Router]:
    return [
        device_routes(),
        bundle_routes(),
        people_routes(),
        root_routes(),
        secret_routes(),
        record_routes(),
        blob_routes(),
        file_routes(),
        stick_routes(),
        key_routes(),
        access_routes(),
        account_routes(),
        signing_in_routes(),
        audit_routes(),
        node_log_routes(),
        tunnel_routes(),
        execution_routes(),
        ssh_routes(),
        entity_routes(),
        page_routes(),
    ]


def _app(features: Features, door: Door, routers: list[Router]) -> Litestar:
    """Every request passes the door first, by way of `Auditing`, and again and again while it is open."""
    give(routers, {field.name: getattr(features, field.name) for field in fields(features)})
    app = Litestar(
        routers,
        guards=[features.auditing.guard(door)],
        exception_handlers=HANDLERS,
        middleware=[
            StandingRequests(features.standing, door),
            ZstdBodies(),
            PeopleHeaders(features.clock),
            AuditedAnswers(features.auditing),
        ],
        request_max_body_size=MAX_BODY,
        openapi_config=None,
        logging_config=None,
    )
    resolve_one_by_one(app)
    app.asgi_handler = EscapedSlashes(app.asgi_handler)
    return app
