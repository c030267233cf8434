"""`skerry device provision|list|show|restart|decommission|diagnostics`: devices over their whole life. See docs/operate/devices.md."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from skerry.cli.device_diagnostics import diagnostics
from skerry.cli.device_tables import device_table, devices_table, left_words
from skerry.cli.http import Api
from skerry.cli.session import Session, remote
from skerry.kit.clock import iso
from skerry.kit.errors import InvalidInput
from skerry.kit.units import format_duration, parse_duration
from skerry.wire.devices import CommandView, DeviceDetail, DevicePage, Provisioned

_PATH = "/api/devices"
_PAGE = 1000
_LOOK_EVERY = 0.5

Name = Annotated[str, typer.Argument(help="The device's name, or its id.")]


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Devices, from their registration to their end.", no_args_is_help=True)
    group.command("provision")(provision)
    group.command("list")(list_devices)
    group.command("show")(show)
    group.command("restart")(restart)
    group.command("fingerprint")(fingerprint)
    group.command("decommission")(decommission)
    group.command("diagnostics")(diagnostics)
    app.add_typer(group, name="device")


@remote
async def provision(
    session: Session,
    name: Name,
    ip_address: Annotated[
        str | None, typer.Option(help="Where scripts reach it before it is a node.")
    ] = None,
    ssh_user: Annotated[str | None, typer.Option(help="As whom scripts sign in there.")] = None,
    ttl: Annotated[str, typer.Option(help="How long its token is good, at most 30d.")] = "1h",
) -> None:
    """Register a device and print the token that enrols it, alone, so that a file can take it; asked again, a new one."""
    asked = {"ip_address": ip_address, "ssh_user": ssh_user, "ttl": str(_seconds(ttl, "--ttl"))}
    async with session.hub() as hub:
        made = await hub.send("POST", _path(name, "/provision", asked), None, Provisioned)
    if made.token:
        session.screen.tell(
            made.token,
            {
                "id": made.id,
                "name": made.name,
                "token": made.token,
                "expires_at": made.expires_at,
                "address": made.address or session.target.hub,
            },
        )
        session.screen.note(
            f"device «{made.name}» is {made.state}; on it, until {iso(made.expires_at)}: skerry node enroll --hub "
            f"{made.address or session.target.hub} --token-file FILE"
        )
    else:
        session.screen.tell(
            f"device «{made.name}» has enrolled already: it is {made.state}",
            {"id": made.id, "name": made.name, "token": "", "expires_at": 0, "address": ""},
        )


@remote
async def list_devices(
    session: Session,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")
    ] = None,
    in_state: Annotated[str | None, typer.Option("--state", help="Only those.")] = None,
    sort: Annotated[str, typer.Option(help="A field; «-» before it: the greatest first.")] = "name",
) -> None:
    """List every device with its state, those out of service too."""
    session.screen.show(
        devices_table(
            await all_devices(session, label or [], in_state, sort), session.clock.wall_ns()
        )
    )


async def all_devices(
    session: Session, labels: list[str], in_state: str | None = None, sort: str = "name"
) -> DevicePage:
    """As many pages as there are."""
    words = [("label", label) for label in labels] + [("sort", sort), ("limit", str(_PAGE))]
    if in_state is not None:
        words.append(("in_state", in_state))
    found: DevicePage | None = None
    async with session.hub() as hub:
        while found is None or len(found.devices) < found.total:
            offset = 0 if found is None else len(found.devices)
            query = urlencode([*words, ("offset", str(offset))])
            page = await hub.get(f"{_PATH}?{query}", DevicePage)
            before = [] if found is None else found.devices
            found = DevicePage([*before, *page.devices], page.total)
            if not page.devices:
                break
    return found


@remote
async def show(session: Session, name: Name) -> None:
    """Show a device: where it stands, what it was ordered to do, and after its end the certificate of erasure."""
    async with session.hub() as hub:
        found = await hub.get(_path(name), DeviceDetail)
    session.screen.show(device_table(found, session.clock.wall_ns()))


@remote
async def restart(
    session: Session,
    name: Name,
    ttl: Annotated[
        str, typer.Option(help="While it is offline, for how long the order stands.")
    ] = "1h",
) -> None:
    """Have a device end its workloads and start itself and them anew."""
    asked = {"ttl": str(_seconds(ttl, "--ttl"))}
    async with session.hub() as hub:
        given = await hub.send("POST", _path(name, "/restart", asked), None, CommandView)
    session.screen.tell(
        f"device «{name}» is told to restart until {iso(given.expires_at)}: skerry device show {name}",
        {"device": name, "order": "restart", "id": given.id, "state": given.state},
    )


@remote
async def fingerprint(
    session: Session,
    name: Name,
    device: Annotated[
        str | None, typer.Argument(metavar="FINGERPRINT", help="Else what it tells itself.")
    ] = None,
    release: Annotated[
        bool, typer.Option("--release", help="It is none, until it tells a fingerprint again.")
    ] = False,
) -> None:
    """Say as which device Cyberwave's twins know this one: by that the hub decides which twins it may change."""
    if release and device is not None:
        raise InvalidInput("cannot identify the device: give a fingerprint or --release, not both")
    asked = {"fingerprint": "" if release else device}
    async with session.hub() as hub:
        found = await hub.send("POST", _path(name, "/fingerprint", asked), None, DeviceDetail)
    known = f"is known as «{found.fingerprint}»" if found.fingerprint else "is known as no device"
    session.screen.tell(
        f"device «{found.name}» {known}",
        {"device": found.name, "id": found.id, "fingerprint": found.fingerprint},
    )


@remote
async def decommission(
    session: Session,
    name: Name,
    now: Annotated[
        bool, typer.Option("--now", help="Refuse it at once: what it has not sent is lost.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Stays with its tombstone.")] = "",
    wait: Annotated[
        str, typer.Option(help="How long to wait here while it sends what it has.")
    ] = "30s",
) -> None:
    """Take a device out of service for ever: it ends its work, sends what it has, is refused, and erases itself."""
    seconds = _seconds(wait, "--wait")
    words = {"now": "true" if now else None, "reason": reason or None}
    async with session.hub() as hub:
        found = await hub.send("DELETE", _path(name, "", words), None, DeviceDetail)
        if found.state == "draining":
            found = await _drained(hub, found, seconds)
    facts: dict[str, str | bool] = {
        "device": found.name,
        "id": found.id,
        "state": found.state,
        "erased": found.erased,
    }
    if found.state == "draining":
        session.screen.tell(
            f"device «{found.name}» is draining; still to come: {left_words(found)}", facts
        )
        session.screen.note(
            f"the hub goes on by itself; to wait for nothing: skerry device decommission {name} --now"
        )
        return
    session.screen.tell(
        f"device «{found.name}» is decommissioned: its credential is refused, it erases itself "
        + ("and has said so" if found.erased else "as soon as it asks"),
        facts,
    )


async def _drained(hub: Api, found: DeviceDetail, seconds: float) -> DeviceDetail:
    try:
        async with asyncio.timeout(seconds):
            while found.state == "draining":
                await asyncio.sleep(_LOOK_EVERY)
                found = await hub.get(_path(found.id), DeviceDetail)
    except TimeoutError:
        pass
    return found


def _path(name: str, rest: str = "", query: Mapping[str, str | None] | None = None) -> str:
    given = {key: value for key, value in (query or {}).items() if value is not None}
    return f"{_PATH}/{quote(name, safe='')}{rest}" + (f"?{urlencode(given)}" if given else "")


def _seconds(text: str, option: str) -> float:
    try:
        return parse_duration(text)
    except InvalidInput as error:
        raise InvalidInput(
            f"cannot use {option}: {error} (such as {format_duration(30.0)})"
        ) from error
