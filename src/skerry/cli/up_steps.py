"""How `skerry up` starts: the steps in order, each harmless when an earlier run did it already."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from skerry.cli.children import Child, unless_one_ends
from skerry.cli.contexts import Context, contexts_file, read_contexts, write_contexts
from skerry.cli.enrolment import enrol_here
from skerry.cli.http import Api, Unreachable, hub_api, node_api
from skerry.cli.progress import Progress
from skerry.core.specs import parse_workloads
from skerry.hub.api import admin_token
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused, Transient
from skerry.kit.text_file import read_text
from skerry.node.identity import read_identity
from skerry.node.node_settings import NodeSettings
from skerry.wire.local import NodeStatus
from skerry.wire.people import (
    Apply,
    ApplyReply,
    Health,
    LoginCode,
    TokenReply,
    TokenRequest,
    WorkloadView,
)

HUB, NODE = "hub", "node"
CONTEXT = "local"
FIRST_FLEET = Path(__file__).with_name("first-fleet.yaml")
START_SECONDS = 30.0
SETTLE_SECONDS = 3.0
POLL_SECONDS = 0.05
_SETTLED = frozenset({"running", "succeeded"})


@dataclass(frozen=True)
class Home:
    """Where everything of one `up` lies, the hub's port, and whether its nodes have certificates."""

    data_dir: Path
    port: int
    by_certificate: bool = True

    @property
    def url(self) -> str:
        """The hub's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def nodes_port(self) -> int:
        """The hub's port for nodes; where they have secrets only, it is that of people."""
        return self.port + 1 if self.by_certificate else self.port

    @property
    def nodes_url(self) -> str:
        """The hub's address for nodes."""
        return f"https://127.0.0.1:{self.nodes_port}" if self.by_certificate else self.url

    @property
    def hub_dir(self) -> Path:
        """The hub's data directory."""
        return self.data_dir / "hub"

    @property
    def node_dir(self) -> Path:
        """The node's data directory."""
        return self.data_dir / "node"

    @property
    def fleet_mark(self) -> Path:
        """There once the first fleet was applied: what people change or delete afterwards stays so."""
        return self.data_dir / "first-fleet.applied"

    @property
    def target(self) -> Context:
        """The context that means this hub and node."""
        token = self.hub_dir / admin_token.FILE_NAME
        return Context(self.url, token, self.node_dir, self.hub_dir)


@dataclass(frozen=True)
class Started:
    """What the welcome needs to know. `login` is the address that signs a browser in once."""

    login: str
    node: NodeStatus
    context_is_current: bool


async def start(
    home: Home, settings: NodeSettings, children: dict[str, Child], progress: Progress
) -> Started:
    """Brings everything up; children are noted as soon as they live, so that the caller can end them.

    Raises Refused (port taken), ChildEnded, Transient (not ready in time) and what enrolment and apply raise.
    """
    former = read_identity(settings.data_dir)
    if former is not None and former.certificate and not home.by_certificate:
        raise Refused(
            f"cannot start: the node in {settings.data_dir} has a certificate, and nodes.method is «secret», which believes "
            "none. Set it to «certificate», or give another --data-dir."
        )
    progress.step(f"starting hub and node on ports {home.port} and {home.nodes_port}")
    for port in {home.port, home.nodes_port}:
        check_port(port)
    await _start_hub(home, children)
    enrolled = former is not None and former.certificate is home.by_certificate
    if enrolled:
        await _start_node(home, children)  # both at once: the node does not need the hub to start
    await _until(lambda: _hub_answers(home), children, f"the hub answers at {home.url}")
    async with hub_api(home.url, home.target.token_file) as hub:
        if not enrolled:
            progress.step("enrolling the node")
            token = await hub.send("POST", "/api/v1/tokens", TokenRequest(60.0), TokenReply)
            if former is not None:  # from before certificates: it stays who it is
                settings = structs.replace(settings, name=former.name, labels=former.labels)
            address = token.address or home.nodes_url
            await enrol_here(settings, address, token.token, again=former is not None)
            await _start_node(home, children)
        if not home.fleet_mark.exists():
            progress.step("applying the first fleet")
            await _apply_first_fleet(hub, home)
        progress.step("waiting for node and workloads")
        await _until(lambda: _node_answers(home), children, "the node answers")
        status = await _settled(hub, home, children)
        login = await hub.send("POST", "/api/v1/login-codes", None, LoginCode)
    return Started(home.url + login.path, status, _write_context(home))


def check_port(port: int) -> None:
    """Raises Refused when another program has the port; the hub would say so too, but only in its log."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Refused(
                    f"cannot start the hub: port {port} is taken by another program. "
                    f"Choose two others: make up HUB_PORT={port + 100} (or skerry up --hub-port {port + 100}), which takes "
                    "the next one, too"
                ) from error
            raise Refused(f"cannot start the hub on port {port}: {error.strerror}") from error


async def _start_hub(home: Home, children: dict[str, Child]) -> None:
    listen = ["--listen", f"127.0.0.1:{home.port}"]
    if home.by_certificate:
        listen += ["--nodes-listen", f"127.0.0.1:{home.nodes_port}"]
    options = ["--data-dir", str(home.hub_dir), *listen]
    command = ["-P", "-m", "skerry.cli.main", "hub", "run", *options]
    children[HUB] = await Child.start(HUB, command, home.data_dir / "hub.log")


async def _start_node(home: Home, children: dict[str, Child]) -> None:
    options = ["--data-dir", str(home.node_dir), "--set", f"hub.url={home.nodes_url}"]
    command = ["-P", "-m", "skerry.node", *options]
    children[NODE] = await Child.start(NODE, command, home.data_dir / "node.log")


async def _until(
    condition: Callable[[], Awaitable[bool]],
    children: dict[str, Child],
    what: str,
    seconds: float = START_SECONDS,
) -> None:
    async def poll() -> None:
        while not await condition():  # noqa: ASYNC110 - another process has no event for us
            await asyncio.sleep(POLL_SECONDS)

    try:
        async with asyncio.timeout(seconds):
            await unless_one_ends(poll(), children.values())
    except TimeoutError as error:
        raise Transient(
            f"cannot start: it is not so after {seconds:.0f} s that {what}. The logs say why."
        ) from error


async def _hub_answers(home: Home) -> bool:
    try:
        async with hub_api(home.url, home.target.token_file) as hub:
            await hub.get("/healthz", Health)
    except Unreachable:
        return False
    return True


async def _node_status(home: Home) -> NodeStatus | None:
    try:
        async with node_api(home.node_dir) as node:
            return await node.get("/v1/status", NodeStatus)
    except Unreachable:
        return None


async def _node_answers(home: Home) -> bool:
    return await _node_status(home) is not None


async def _apply_first_fleet(hub: Api, home: Home) -> None:
    specs = parse_workloads(read_text(FIRST_FLEET), str(FIRST_FLEET))
    await hub.send("PUT", "/api/v1/workloads", Apply(specs), ApplyReply)
    home.fleet_mark.touch()


async def _settled(hub: Api, home: Home, children: dict[str, Child]) -> NodeStatus:
    """The node's status once every workload runs that the hub has for it, or as it is after SETTLE_SECONDS."""
    views = await hub.get("/api/v1/workloads", list[WorkloadView])
    wanted = {view.name for view in views if view.nodes}

    async def all_run() -> bool:
        status = await _node_status(home)
        workloads = status.workloads if status else []
        return wanted <= {each.workload for each in workloads if each.phase in _SETTLED}

    with contextlib.suppress(Transient):
        await _until(all_run, children, "every workload runs", SETTLE_SECONDS)
    async with node_api(home.node_dir) as node:
        return await node.get("/v1/status", NodeStatus)


def _write_context(home: Home) -> bool:
    """Writes the context; tells whether it is the current one."""
    path = contexts_file(Path.home())
    contexts = read_contexts(path).with_context(CONTEXT, home.target)
    write_contexts(path, contexts, RealDisk())
    return contexts.current == CONTEXT
