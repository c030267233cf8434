"""`/api/devices`: devices over their whole life, in the shape that scripts know. See docs/operate/devices.md."""

from __future__ import annotations

import msgspec
from litestar import Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from skerry.core.audit_entries import Deed
from skerry.hub.api.auditing import note
from skerry.hub.api.auth import (
    ANYONE,
    CONFIGURE,
    CONFIGURE_ON,
    EXECUTE_ON,
    READ_ON,
    AuthenticatedRequest,
)
from skerry.hub.api.bodies import WireBody
from skerry.hub.changes import Changes
from skerry.hub.enrolling import Enrolling
from skerry.hub.fleet.devices import RESTART_TTL, Address, Devices, Wanted
from skerry.hub.fleet.edge_orders import ORDER_TTL, told_of
from skerry.hub.fleet.retiring import Retiring
from skerry.hub.trust.audit import AuditLog
from skerry.kit.errors import InvalidInput
from skerry.wire.devices import (
    CommandView,
    DeviceDetail,
    DevicePage,
    EdgeOrder,
    ErasureReport,
    ErasureTaken,
    Provisioned,
)
from skerry.wire.people import TokenReply

_DEVICE = "/api/devices/{name:str}"
_TOKEN_TTL = 3600.0


@get("/api/devices", opt=READ_ON)
async def list_devices(  # noqa: PLR0913 - one argument for each query parameter
    *,
    request: AuthenticatedRequest,
    devices: NamedDependency[Devices],
    label: FromQuery[list[str] | None] = None,
    in_state: FromQuery[str | None] = None,
    sort: FromQuery[str] = "name",
    limit: FromQuery[int] = 100,
    offset: FromQuery[int] = 0,
) -> DevicePage:
    """Devices, those out of service too; `label` is KEY=VALUE and may be repeated, `sort` a field, from the greatest down with «-»."""
    role = request.user.role
    return await devices.list(Wanted(_labels(label or []), in_state, sort, limit, offset, role))


@get(_DEVICE, opt=READ_ON)
async def show_device(
    request: AuthenticatedRequest, name: FromPath[str], devices: NamedDependency[Devices]
) -> DeviceDetail:
    """One device, by its id or name."""
    return await devices.get(name, request.user.role)


@post(f"{_DEVICE}/provision", status_code=200, opt=CONFIGURE_ON)
async def provision_device(  # noqa: PLR0913 - one argument for each query parameter
    *,
    request: AuthenticatedRequest,
    name: FromPath[str],
    devices: NamedDependency[Devices],
    enrolling: NamedDependency[Enrolling],
    changes: NamedDependency[Changes],
    ip_address: FromQuery[str | None] = None,
    ssh_user: FromQuery[str | None] = None,
    ttl: FromQuery[float] = _TOKEN_TTL,
) -> Provisioned:
    """Registers a device and makes the token that enrols it; the token is shown this once, and the one before is void."""
    who, address = request.user, Address(ip_address, ssh_user)
    made = await devices.provision(name, address, ttl, who.id, who.role)
    note(request, f"{made.name} ({made.id})" + (f", token for {ttl:.0f} s" if made.token else ""))
    changes.announce()
    if not made.token:
        return made
    told = enrolling.token(TokenReply(made.token, made.expires_at))
    return msgspec.structs.replace(made, token=told.token, address=told.address)


@post(f"{_DEVICE}/update", status_code=202, opt=CONFIGURE_ON)
async def update_device(
    request: AuthenticatedRequest, name: FromPath[str], devices: NamedDependency[Devices]
) -> None:
    """Answers 409: this hub distributes no releases yet."""
    await devices.update(name, request.user.role)


@post(f"{_DEVICE}/restart", status_code=202, opt=EXECUTE_ON)
async def restart_device(
    request: AuthenticatedRequest,
    name: FromPath[str],
    devices: NamedDependency[Devices],
    ttl: FromQuery[float] = RESTART_TTL,
) -> CommandView:
    """Has a device end its workloads and start itself and them anew; while it is offline, for `ttl` seconds at most."""
    given = await devices.restart(name, ttl, request.user.id, request.user.role)
    note(request, f"order {given.id}, {given.state}")
    return given


@post(
    f"{_DEVICE}/orders", dto=WireBody[EdgeOrder], return_dto=None, status_code=202, opt=EXECUTE_ON
)
async def order_device(
    request: AuthenticatedRequest,
    name: FromPath[str],
    data: JSONBody[EdgeOrder],
    devices: NamedDependency[Devices],
    ttl: FromQuery[float] = ORDER_TTL,
) -> CommandView:
    """Has a device command a twin's driver, restart its drivers or sync its workflows; while it is offline, for `ttl` seconds at most."""
    given = await devices.order(name, data, ttl, request.user.id, request.user.role)
    note(request, f"order {given.id}, {given.state}: {told_of(data)}")
    return given


@get(f"{_DEVICE}/orders/{{order:str}}", opt=READ_ON)
async def show_order(
    request: AuthenticatedRequest,
    name: FromPath[str],
    order: FromPath[str],
    devices: NamedDependency[Devices],
) -> CommandView:
    """What became of an order, with what a twin's driver has answered."""
    return await devices.order_given(name, order, request.user.role)


@post(f"{_DEVICE}/fingerprint", status_code=200, opt=CONFIGURE)
async def identify_device(
    request: AuthenticatedRequest,
    name: FromPath[str],
    devices: NamedDependency[Devices],
    fingerprint: FromQuery[str | None] = None,
) -> DeviceDetail:
    """Says as which device Cyberwave's twins know this one: what it tells now, or `fingerprint`; empty: nobody until it tells."""
    found = await devices.know_as(name, fingerprint)
    note(request, f"{found.name} ({found.id}), now «{found.fingerprint}»")
    return found


@delete(_DEVICE, status_code=200, opt=CONFIGURE_ON)
async def decommission_device(  # noqa: PLR0913 - one argument for each query parameter
    *,
    request: AuthenticatedRequest,
    name: FromPath[str],
    devices: NamedDependency[Devices],
    retiring: NamedDependency[Retiring],
    changes: NamedDependency[Changes],
    now: FromQuery[bool] = False,
    reason: FromQuery[str] = "",
) -> DeviceDetail:
    """Takes a device out of service for ever: drained first when it is online, refused at once when it is not, or with `now`."""
    who = request.user
    device_id = await retiring.decommission(name, reason, who.id, now=now, role=who.role)
    found = await devices.get(device_id)
    note(request, f"{found.name} ({found.id}), now {found.state}")
    changes.announce()
    return found


@post("/enrol/v1/erased", dto=WireBody[ErasureReport], return_dto=None, status_code=200, opt=ANYONE)
async def take_erasure(
    data: JSONBody[ErasureReport],
    retiring: NamedDependency[Retiring],
    audit: NamedDependency[AuditLog],
) -> ErasureTaken:
    """Takes the certificate of erasure of a device that was told to erase itself; its signature is its credential."""
    taken = await retiring.take_erasure(data)
    if taken.is_new:
        digest = taken.answer.sha256
        await audit.add(
            Deed(data.node_id, "", "device_erased", data.node_id, detail=f"sha256 {digest[:16]}")
        )
    return taken.answer


def _labels(words: list[str]) -> dict[str, str]:
    found = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise InvalidInput("cannot list devices: a label is written KEY=VALUE")
        found[key] = value
    return found


def device_routes() -> Router:
    """Every route of devices."""
    return Router(
        "/",
        route_handlers=[
            list_devices,
            show_device,
            provision_device,
            update_device,
            restart_device,
            identify_device,
            order_device,
            show_order,
            decommission_device,
        ],
    )
