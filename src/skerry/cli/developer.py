"""`skerry ssh`, `ssh-cert`, `port-forward` and `tunnel`: into a node by way of the hub. See docs/operate/developer-access.md."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from skerry.cli import ssh_client
from skerry.cli.session import Session, remote, remote_text
from skerry.cli.tunnels import carry, open_tunnel
from skerry.kit.clock import iso
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, SkerryError
from skerry.kit.units import parse_duration
from skerry.wire.link import LARGEST
from skerry.wire.ssh import MOST_SECONDS

SESSION_SECONDS = 120.0
"""A certificate for one login needs to be good only until that: what is logged in stays."""

Node = Annotated[str, typer.Argument(help="The node's name.")]
DirectOption = Annotated[
    str | None,
    typer.Option(metavar="HOST[:PORT]", help="Where its sshd is reached without the hub."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    rest = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("ssh", context_settings=rest)(ssh)
    app.command("ssh-cert")(ssh_cert)
    app.command("port-forward")(port_forward)
    app.command("tunnel", hidden=True)(tunnel)


@remote_text
async def ssh(
    session: Session,
    *,
    node: Node,
    command: Annotated[
        list[str] | None, typer.Argument(help="After «--»: what to run instead of a shell.")
    ] = None,
    direct: DirectOption = None,
) -> None:
    """Log in to a node with a certificate of a few minutes, through its link to the hub."""
    address = ssh_client.read_direct(direct) if direct else None
    with tempfile.TemporaryDirectory(prefix="skerry-ssh-") as name:
        directory = Path(name)
        async with session.hub() as hub:
            made = await ssh_client.fetch_certificate(hub, node, directory, ttl=SESSION_SECONDS)
        every = [
            *ssh_client.options(made, directory),
            *ssh_client.way(made, session.target, address),
        ]
        if made.limited and not command:
            session.screen.note(
                "your role opens no shell: type «help», Ctrl-D ends it. A role with all permissions gets one."
            )
        words = ssh_client.command_line(
            every, made.node_id, command or [], terminal=not made.limited
        )
        with _ctrl_c_is_for_the_child():
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "skerry.cli.tied", *words
            )
            code = await child.wait()
    raise typer.Exit(128 - code if code < 0 else code)


@contextlib.contextmanager
def _ctrl_c_is_for_the_child() -> Iterator[None]:
    # Not SIG_IGN, which the child would inherit.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@remote
async def ssh_cert(
    session: Session,
    *,
    node: Node,
    out: Annotated[Path, typer.Option(help="A directory for the files; only you may read it.")],
    direct: DirectOption = None,
    ttl: Annotated[str, typer.Option(help="How long it is good, at most 15m.")] = "15m",
    source: Annotated[
        str, typer.Option(help="An address or network: good for connections from there alone.")
    ] = "",
) -> None:
    """Keep a certificate for a node as files, for use on site: until it ends it needs no hub."""
    try:
        seconds = parse_duration(ttl)
    except InvalidInput as error:
        raise InvalidInput(f"cannot use --ttl: {error}") from error
    if not 1 <= seconds <= MOST_SECONDS:
        raise InvalidInput(f"cannot use --ttl {ttl}: write 1s to 15m")
    address = ssh_client.read_direct(direct) if direct else None
    if source and address is None:
        raise InvalidInput("cannot use --source without --direct: the hub's tunnel has no address")
    RealDisk().make_directory("ssh-cert.directory", out, 0o700)
    out.chmod(0o700)
    async with session.hub() as hub:
        made = await ssh_client.fetch_certificate(hub, node, out, ttl=seconds, source=source)
    every = [*ssh_client.options(made, out), *ssh_client.way(made, session.target, address)]
    names = list(dict.fromkeys([made.node, made.node_id]))
    text = ssh_client.config_text(every, names).encode()
    RealDisk().write_atomic("ssh-cert.config", out / ssh_client.CONFIG, text, mode=0o600)
    words = f"ssh -F {out / ssh_client.CONFIG} {made.node}"
    session.screen.tell(
        f"certificate {made.serial} is good until {iso(made.expires_at)}: {words}",
        {
            "serial": made.serial,
            "node": made.node,
            "user": made.user,
            "expires_at": made.expires_at,
            "limited": made.limited,
            "config": str(out / ssh_client.CONFIG),
        },
    )


@remote_text
async def port_forward(
    session: Session,
    *,
    node: Node,
    ports: Annotated[
        str, typer.Argument(metavar="[LOCAL:]PORT", help="A port here, and one of the node's.")
    ],
) -> None:
    """Make a port of a node's loopback reachable on this machine's, until Ctrl-C."""
    local, port = read_ports(ports)
    async with open_tunnel(session, node, port):
        pass  # so that what is wrong is said now, not with the first connection
    forward = partial(_forward, session, node, port)
    try:
        server = await asyncio.start_server(forward, "127.0.0.1", local, limit=LARGEST)
    except OSError as error:
        raise InvalidInput(
            f"cannot listen on 127.0.0.1:{local}: {error.strerror}. Choose another: skerry port-forward {node} "
            f"PORT:{port}"
        ) from error
    listening = server.sockets[0].getsockname()[1]
    session.screen.note(f"127.0.0.1:{listening} is port {port} of node «{node}»; Ctrl-C ends it")
    await server.serve_forever()


def read_ports(text: str) -> tuple[int, int]:
    """«PORT» or «LOCAL:PORT»; the local one may be 0, for any. Raises InvalidInput."""
    local, _, port = text.rpartition(":")
    numbers = [
        int(each) if each.isascii() and each.isdigit() else -1 for each in (local or port, port)
    ]
    if not (0 <= numbers[0] <= 65535 and 1 <= numbers[1] <= 65535):
        raise InvalidInput(f"cannot forward «{text:.40}»: write PORT or LOCAL:PORT, 8080:80")
    return numbers[0], numbers[1]


async def _forward(
    session: Session,
    node: str,
    port: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    try:
        async with open_tunnel(session, node, port) as socket:
            await carry(socket, reader, writer, writer.write_eof)
    except (SkerryError, OSError) as error:
        session.screen.note(str(error))
    finally:
        writer.close()


@remote_text
async def tunnel(
    session: Session,
    *,
    node: Node,
    port: Annotated[int, typer.Argument(min=1, max=65535, help="A port of the node's loopback.")],
    ca_file: Annotated[
        Path | None,
        typer.Option(help="Authorities besides the system's for the hub's certificate."),
    ] = None,
) -> None:
    """Carry stdin and stdout to a port of a node: OpenSSH's ProxyCommand."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LARGEST)
    _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb", buffering=0)
    )
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(os.dup(1), "wb", buffering=0)
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    target = session.target
    if ca_file is not None:
        target = msgspec.structs.replace(target, ca_file=ca_file)
    async with open_tunnel(replace(session, target=target), node, port) as socket:
        await carry(socket, reader, writer, transport.close)
