"""The hub's composition root: builds every object, runs the loops and the web server, and ends them in order.

Read it as the hub's table of contents. `cli.hub` and `make up` call `serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import platform
import random
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

import skerry
from skerry.core.stream_rules import Rules
from skerry.hub import encryption
from skerry.hub.api import admin_token
from skerry.hub.api.auditing import Auditing
from skerry.hub.api.auth import Authenticator
from skerry.hub.api.login_codes import LoginCodes
from skerry.hub.api.signing_in import Signing
from skerry.hub.app import Features, build_app, build_nodes_app
from skerry.hub.backups.schedule import LOOK_EVERY
from skerry.hub.bundles import Bundles
from skerry.hub.changes import Changes
from skerry.hub.dashboard.board import Board
from skerry.hub.dashboard.rendering import Templates
from skerry.hub.data.completeness import Completeness
from skerry.hub.data.export import RecordExport
from skerry.hub.data.history import RecordHistory
from skerry.hub.data.ingest import Ingest
from skerry.hub.data.query import RecordQuery
from skerry.hub.data.retention import Ages, Retention
from skerry.hub.data.storage import Storage
from skerry.hub.enrolling import Enrolling
from skerry.hub.files.arrivals import Arrivals
from skerry.hub.files.shelf import Shelf
from skerry.hub.fleet.assignments import Assignments
from skerry.hub.fleet.devices import build_devices
from skerry.hub.fleet.models import Models
from skerry.hub.fleet.nodes import FLUSH_EVERY, FLUSH_FOR_OTHERS_EVERY, Nodes
from skerry.hub.fleet.rollouts import Rollouts
from skerry.hub.fleet.secrets import Secrets
from skerry.hub.fleet.twins import Twins
from skerry.hub.fleet.workloads import Workloads
from skerry.hub.hearing import SHOWN_EVERY, Hearing
from skerry.hub.link import Links
from skerry.hub.maintenance import build_schedule, make_data_dir, safe_of, start
from skerry.hub.nodes_listener import NodesListener, open_listener
from skerry.hub.peers import BEAT_EVERY, Peers
from skerry.hub.settings import HubSettings
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.leases import Leases
from skerry.hub.store.listening import Listening
from skerry.hub.store.open_blobs import open_blobs
from skerry.hub.store.rotation import LEASE, Rotation
from skerry.hub.store.sole import only_user
from skerry.hub.store.tables import FLEET
from skerry.hub.sync.carrying import Carrying
from skerry.hub.sync.declarations import Declarations
from skerry.hub.sync.epochs import Epochs
from skerry.hub.sync.hello import Greeter
from skerry.hub.sync.model_rows import ModelRows
from skerry.hub.sync.own_edits import OwnEdits
from skerry.hub.sync.pull import Feed
from skerry.hub.sync.push import Receiver
from skerry.hub.sync.readers import Readers
from skerry.hub.sync.rounds import Rounds
from skerry.hub.sync.rows_pull import RowFeed
from skerry.hub.sync.shared_rows import SharedRows
from skerry.hub.tails import Tails
from skerry.hub.trust.audit import AuditLog
from skerry.hub.trust.enrolment_rate import EnrolmentRate
from skerry.hub.trust.node_logs import NodeLogs
from skerry.hub.trust.people import People
from skerry.hub.trust.people_tls import PeopleTls
from skerry.hub.trust.ssh_authority import SshAuthority
from skerry.hub.trust.standing import Standing
from skerry.hub.tunnels import Tunnels
from skerry.hub.web_server import (
    DEFAULT_KEEPALIVE,
    Keepalive,
    WebServer,
    address_of,
    limits_of,
    listen,
    listen_for_nodes,
    serve_people,
)
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import Transient
from skerry.kit.own_hosts import own_hosts
from skerry.kit.reception import RequestLimits
from skerry.kit.service_manager import NOBODY, ServiceManager, prove_life
from skerry.kit.tasks import Guard, Tasks, supervised
from skerry.wire.devices import WipeOrder

log = logging.getLogger(__name__)

SWEEP_EVERY = 600.0
"""Seconds between two passes of retention."""

_DISK = RealDisk()

_BREATH = 0.05
"""Seconds that pushes have for themselves between two steps of giving room back to the disk."""

_UPDATES_LEASE = 5.0
"""Seconds after which another hub process carries changes on when this one is gone."""


async def serve(
    settings: HubSettings,
    ready: Callable[[str], None] | None = None,
    nodes_ready: Callable[[str], None] | None = None,
    *,
    keepalive: Keepalive = DEFAULT_KEEPALIVE,
    limits: RequestLimits | None = None,
    clock: Clock | None = None,
    disk: Disk = _DISK,
    manager: ServiceManager = NOBODY,
) -> None:
    """Runs the hub until SIGINT, SIGTERM or cancellation; calls `ready` with its address and tells `manager` once it answers.

    Before that it calls `nodes_ready` with the address that nodes are told. `disk` has the authority's files. Without
    `limits` it takes as many connections as the process may have files open, but for a reserve.

    Raises Refused when it may not or cannot listen, and what opening the store raises.
    """
    with contextlib.ExitStack() as held:
        listener = held.enter_context(contextlib.closing(listen(settings)))
        by_certificate = settings.nodes.by_certificate
        bound = held.enter_context(listen_for_nodes(settings)) if by_certificate else None
        make_data_dir(settings)
        clock = clock or SystemClock()
        store = HubStore(settings.database_url, clock, encryption=encryption.wish(settings))
        held.enter_context(only_user(store.url))
        await asyncio.to_thread(start, settings, store)
        try:
            if store.keys is not None:
                encryption.tell(store.keys.status())
            secure = PeopleTls.of(settings.tls, clock)
            address = address_of(listener, "https" if secure else "http")
            nodes = await open_listener(settings, bound, store, clock, disk) if bound else None
            features, retention = await _build(settings, store, clock, address, nodes, secure)
            for_people, for_nodes = limits_of(settings, limits)
            nodes_app = build_nodes_app(features) if nodes else None
            server = serve_people(
                build_app(features, nodes_app), address, keepalive, for_people, secure, ready,
                proxies=settings.access.proxy_networks,
            )  # fmt: skip
            servers = [(server, listener)]
            if nodes is not None and nodes_app is not None:
                servers.insert(0, (nodes.server(nodes_app, keepalive, for_nodes), nodes.socket))
            await features.peers.join()
            await retention.prepare(clock.wall_ns())
            await features.backups.look()
            if nodes_ready is not None:
                nodes_ready(features.enrolling.address)
            try:
                await _run(servers, nodes, features, retention, manager)
            finally:
                with contextlib.suppress(Transient):  # on a full disk: nodes are seen again soon
                    await features.nodes.flush()
                    await features.auditing.flush(everything=True)
                    await features.leases.release()
                    await features.peers.leave()
        finally:
            await asyncio.to_thread(store.stop)


async def _build(
    settings: HubSettings,
    store: HubStore,
    clock: Clock,
    address: str,
    listener: NodesListener | None = None,
    secure: PeopleTls | None = None,
) -> tuple[Features, Retention]:
    links, changes, leases, safe = Links(), Changes(), Leases(store), safe_of(settings)
    assignments = Assignments(clock, safe)
    nodes = Nodes(store, assignments, clock, links.notify)
    await nodes.start()
    tokens, devices, retiring = build_devices(store, nodes, assignments, links, clock)
    blobs, file_blobs = (open_blobs(settings, kind, store) for kind in ("blobs", "files"))
    arrivals, models = Arrivals(store, file_blobs, clock), Models(store, blobs, clock)
    rollouts = Rollouts(store, assignments, clock, links.notify, nodes.last_seen)
    workloads = Workloads(store, assignments, rollouts, clock, links.notify, nodes.last_seen, models=models)  # fmt: skip
    query, templates = RecordQuery(store), Templates(settings.fleet, skerry.__version__)
    token = admin_token.load_or_create(settings.data_dir, _DISK)
    people = People.of(store, clock, token, settings.access_control)
    told = listener.address if listener else settings.address or address
    authority, rate = listener.authority if listener else None, settings.nodes.rate
    enrolling = Enrolling(nodes, authority, told, EnrolmentRate(rate, clock))
    peers = Peers(store, settings.address or address, told, token, enrolling.root)
    retention = _retention(settings, store)
    storage = Storage(store, settings.data_dir, retention, clock)
    readers, ingest = Readers(links.notify_rows), Ingest(lambda: store.facts.index_key)
    declarations = Declarations(settings.sync.entities)
    await declarations.hold_all(store, clock.wall_ns())
    receiver = Receiver(store, ingest, nodes, links.notify, readers.changed, declarations)
    epochs = Epochs(store, assignments, links.notify)
    feed, row_feed = Feed(store, epochs, clock), RowFeed(store, epochs, readers, clock)
    rotation = Rotation(store, clock, functools.partial(leases.hold, "keys", LEASE), [blobs, file_blobs])  # fmt: skip
    backups = build_schedule(settings, store, leases, clock)
    own_edits, audit = OwnEdits(store, clock, readers.changed, declarations), AuditLog(store, clock)
    names = [*(settings.hosts or "").split(","), *(secure.names if secure else ())]
    signing = _signing(
        names, people, token, nodes, retiring.order_for, by_secret=listener is None, audit=audit, store=store, clock=clock
    )  # fmt: skip
    features = Features(
        store=store, nodes=nodes, enrolling=enrolling, tokens=tokens, devices=devices, retiring=retiring,
        workloads=workloads, models=models, secrets=Secrets(store, workloads, safe, clock), rollouts=rollouts,
        blobs=blobs, file_blobs=file_blobs, arrivals=arrivals,
        shelf=Shelf(store, file_blobs, arrivals, _longest_for_files(settings)),
        record_query=query, record_export=RecordExport(store, query), completeness=Completeness(store, query, clock),
        storage=storage, greeter=Greeter(store, clock), receiver=receiver,
        carrying=Carrying(store, receiver, arrivals, clock), feed=feed, row_feed=row_feed,
        rounds=Rounds(store, feed, row_feed), shared_rows=SharedRows(store, own_edits), model_rows=ModelRows(store, own_edits),
        ssh_authority=SshAuthority.of(settings.data_dir, store, clock, links.notify),
        links=links, peers=peers, bundles=Bundles(links, peers, token), tails=Tails(links, peers, token), tunnels=Tunnels(links, peers, token, settings.access),
        hearing=Hearing(store, links, nodes, rollouts, changes, clock, peers=peers, readers=readers, trust=enrolling.trust_changed),
        leases=leases, backups=backups, rotation=rotation, changes=changes,
        board=Board(
            nodes, workloads, query, RecordHistory(store), templates, clock, twins=Twins(store), backups=backups, storage=storage
        ),
        templates=templates, authenticator=signing.authenticator, audit=audit, auditing=signing.auditing,
        standing=Standing(clock), api_tokens=people.api_tokens, accounts=people.accounts, roles=people.roles,
        node_logs=NodeLogs(store, clock), signing=signing, sessions=people.sessions, login_codes=signing.login_codes, clock=clock,
    )  # fmt: skip
    return features, retention


def _signing(
    names: Iterable[str],
    people: People,
    token: str,
    nodes: Nodes,
    order_for: Callable[[str], Awaitable[WipeOrder | None]],
    *,
    by_secret: bool,
    audit: AuditLog,
    store: HubStore,
    clock: Clock,
) -> Signing:
    hosts = own_hosts(platform.node(), *names)
    authenticator = Authenticator(
        FLEET,
        token,
        nodes,
        people.api_tokens,
        people.sessions,
        hosts,
        order_for,
        by_secret=by_secret,
    )
    auditing = Auditing(audit, authenticator, clock)
    return Signing.of(people, authenticator, auditing, LoginCodes(store, clock))


def _retention(settings: HubSettings, store: HubStore) -> Retention:
    kept = settings.retention
    ages = Ages(measurement=kept.measurements, event=kept.events, gap=kept.gaps, file=kept.files)
    return Retention(store, ages, Rules.of(kept.streams))


def _longest_for_files(settings: HubSettings) -> float:
    """Seconds that a file's record may be kept by the rules of retention."""
    kept = settings.retention
    return max([kept.files, *(rule.keep or 0 for rule in kept.streams)])


async def _sweep(features: Features, retention: Retention) -> None:
    clock = features.clock
    if not await features.leases.hold("retention", 2 * SWEEP_EVERY):
        return
    await retention.prepare(clock.wall_ns())
    removed = await retention.sweep(clock.wall_ns())
    if removed:
        log.info("removed %d records that are older than the retention allows", removed)
    unused = await features.models.sweep()
    if unused:
        log.info("removed %d blobs that no model names", unused)
    unnamed = await features.shelf.sweep(clock.wall_ns())
    if unnamed:
        log.info("removed %d files that no record names", unnamed)
    while await features.store.give_back():
        await clock.sleep(_BREATH)


async def _run(
    servers: Sequence[tuple[WebServer, socket.socket]],
    nodes: NodesListener | None,
    features: Features,
    retention: Retention,
    manager: ServiceManager,
) -> None:
    clock, chance = features.clock, random.Random()  # noqa: S311 - jitter needs no secrecy

    def end() -> None:
        # The page's streams end by themselves before the server waits for its connections; links it ends itself.
        manager.stops()
        features.changes.close()
        for server, _ in servers:
            server.should_exit = True

    for server, listener in servers:
        server.listen(listener)
    async with supervised() as tasks:
        often = FLUSH_FOR_OTHERS_EVERY if features.store.shared else FLUSH_EVERY
        for name, seconds, work in (
            ("retention", SWEEP_EVERY, functools.partial(_sweep, features, retention)),
            ("backups", LOOK_EVERY, features.backups.once),
            ("last seen", often, features.nodes.flush),
        ):
            tasks.forever(_every(seconds, work, Guard(name, clock, chance), clock), name=name)
        tasks.forever(
            features.rollouts.run(
                Guard("updates", clock, chance),
                features.changes.announce,
                may=functools.partial(features.leases.hold, "updates", _UPDATES_LEASE),
            ),
            name="updates",
        )
        features.retiring.follow(tasks, chance, features.changes.announce)
        features.auditing.follow(tasks, chance)
        features.standing.follow(tasks, chance)
        if nodes is not None:
            nodes.follow(features, tasks, chance)
        features.rotation.follow(tasks, chance)
        if features.store.shared:
            await _with_peers(tasks, features, chance)
        _ = tasks.start(_watched(manager, servers, features), name="watchdog")
        serving = asyncio.gather(
            *(
                tasks.start(
                    server.serve(sockets=[listener]), name=f"web server at {listener.getsockname()}"
                )
                for server, listener in servers
            )
        )
        with _on_stop_signals(end):
            try:
                await asyncio.shield(serving)
            finally:
                end()
                await serving


async def _watched(
    manager: ServiceManager,
    servers: Sequence[tuple[WebServer, socket.socket]],
    features: Features,
) -> None:
    for server, _ in servers:
        await server.answers.wait()
    await prove_life(manager, features.clock, features.store.pulse)


async def _with_peers(tasks: Tasks, features: Features, chance: random.Random) -> None:
    """What a hub does that shares its database. Returns when it hears the others, so that it serves without missing any."""
    store, hearing, clock = features.store, features.hearing, features.clock
    listening = Listening(store.url, store.origin, hearing.heard, hearing.resumed)
    tasks.forever(listening.run(clock, chance), name="notices of other hubs")
    tasks.forever(
        _every(BEAT_EVERY, features.peers.beat, Guard("being known", clock, chance), clock),
        name="being known",
    )
    tasks.forever(
        _every(SHOWN_EVERY, hearing.tell, Guard("telling other hubs", clock, chance), clock),
        name="telling other hubs",
    )
    await listening.begun()


async def _every(
    seconds: float, work: Callable[[], Awaitable[None]], guard: Guard, clock: Clock
) -> None:
    while True:
        await clock.sleep(seconds)
        await guard.run(work)


@contextlib.contextmanager
def _on_stop_signals(end: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
