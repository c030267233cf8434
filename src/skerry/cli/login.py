"""`skerry login` and `skerry logout`: a user's password for a token of a day, which a context of one's own keeps."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from skerry.cli.contexts import (
    DEFAULT,
    Context,
    Contexts,
    checked_hub,
    contexts_file,
    read_contexts,
    write_contexts,
)
from skerry.cli.http import hub_api, is_here
from skerry.cli.passwords import PasswordFile, ask_password
from skerry.cli.session import Session, remote, remote_stranger
from skerry.core.names import name_fault
from skerry.kit.clock import NS, iso
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.kit.units import format_duration, parse_duration
from skerry.wire.access import SignedIn, SignIn

_TOKENS = "tokens"


def register(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command("login")(login)
    app.command("logout")(logout)


@remote_stranger
async def login(
    session: Session,
    user: Annotated[str, typer.Argument(help="Who you are at the hub.")],
    name: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="CONTEXT", help="The context that keeps the token; else the hub's host."
        ),
    ] = None,
    password_file: PasswordFile = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="Authorities (PEM) besides the system's, for the hub's certificate."),
    ] = None,
    ttl: Annotated[
        str | None, typer.Option(help="How long; else as long as the hub allows.")
    ] = None,
) -> None:
    """Sign in at the hub as a user. The token is kept in a context, which becomes the current one."""
    seconds = None if ttl is None else _seconds(ttl)
    target = session.target
    authority = target.ca_file if ca_file is None else ca_file.absolute()
    _check_secrecy(target.hub)
    file = contexts_file(Path.home())
    known = read_contexts(file)
    context_name = name or _name_for(target.hub, known)
    fault = name_fault(context_name)
    if fault is not None:
        raise InvalidInput(f"cannot use --as: {fault}")
    kept = file.parent / _TOKENS / context_name
    held = known.contexts.get(context_name)
    if context_name == DEFAULT or (held is not None and held.token_file != kept):
        raise Refused(
            f"cannot sign in as context «{context_name}»: it has another token, which is not of «skerry login». "
            "Name another context with --as."
        )
    password = ask_password(password_file, user)
    async with hub_api(target.hub, None, authority) as hub:
        made = await hub.send("POST", "/api/v1/sign-in", SignIn(user, password, seconds), SignedIn)
    _keep(kept, made.token)
    context = Context(target.hub, kept, target.data_dir, ca_file=authority)
    changed = known.with_context(context_name, context)
    write_contexts(file, msgspec.structs.replace(changed, current=context_name), RealDisk())
    left = (made.expires_at - session.clock.wall_ns()) / NS
    session.screen.tell(
        f"signed in at {target.hub} as «{made.user}» (role {made.role}) until {iso(made.expires_at)} "
        f"({format_duration(round(left))}); commands now mean context «{context_name}»",
        {
            "user": made.user,
            "role": made.role,
            "context": context_name,
            "hub": target.hub,
            "expires_at": made.expires_at,
        },
    )


@remote
async def logout(session: Session) -> None:
    """Sign out: the hub takes the token of the context back, and the context is forgotten here."""
    file = contexts_file(Path.home())
    known = read_contexts(file)
    names = [
        name
        for name, each in known.contexts.items()
        if each.token_file == session.target.token_file
        and each.token_file == file.parent / _TOKENS / name
    ]
    if not names:
        raise Refused(
            f"cannot sign out from {session.target.hub}: its token is not of «skerry login»"
        )
    [name] = names
    try:
        async with session.hub() as hub:
            await hub.order("POST", "/api/v1/sign-out")
    except (NotFound, Refused) as error:
        session.screen.note(f"the hub had taken the token back before: {error}")
    with contextlib.suppress(FileNotFoundError):
        session.target.token_file.unlink()
    others = {key: each for key, each in known.contexts.items() if key != name}
    current = None if known.current == name else known.current
    write_contexts(file, Contexts(current, others), RealDisk())
    session.screen.tell(
        f"signed out from {session.target.hub}; context «{name}» is gone, commands now mean "
        f"«{current or DEFAULT}»",
        {"context": name, "current": current or DEFAULT},
    )


def _seconds(ttl: str) -> float:
    try:
        return parse_duration(ttl)
    except InvalidInput as error:
        raise InvalidInput(f"cannot use --ttl: {error}") from error


def _name_for(hub: str, known: Contexts) -> str:
    """The context that this hub's sign-in is kept in already, else one called as its host."""
    tokens = contexts_file(Path.home()).parent / _TOKENS
    for name, each in known.contexts.items():
        if each.hub == hub and each.token_file.parent == tokens:
            return name
    host = urlsplit(checked_hub(hub)).hostname or ""
    return "".join(each if each.isalnum() else "-" for each in host).strip("-")[:63] or "hub"


def _check_secrecy(hub: str) -> None:
    if urlsplit(hub).scheme != "https" and not is_here(hub):
        raise Refused(
            f"cannot sign in at {hub}: the password would travel in the clear. Use its https address."
        )


def _keep(path: Path, token: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        RealDisk().write_atomic("login.write", path, token.encode() + b"\n")
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from error
