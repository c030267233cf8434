"""From the twins that this device serves to the drivers that are to run, and why others are not. Pure but for `read`.

One driver that cannot be had is told of, and keeps no other from running.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Literal

import msgspec
from msgspec.structs import replace

from skerry.core.cyberwave import linking
from skerry.core.cyberwave.drivers import Driver, chosen, tagged
from skerry.core.cyberwave.names import PREFIXES, driver_container, sdk_prefix
from skerry.core.cyberwave.privileges import (
    another_program,
    asked,
    foreign_start,
    trusted_by,
    volumes,
    with_own_volumes,
)
from skerry.core.cyberwave.run_options import RunOptions, parsed, variables_of
from skerry.core.names import looks_secret
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.own_hosts import LOOPBACK
from skerry.kit.text_file import read_below
from skerry.node.drivers.device import HOST, Device, Networks, Served
from skerry.node.drivers.views import CREDENTIALS, LIBRARY
from skerry.node.twin_ports import FORGOTTEN

Read = Callable[[Path, PurePath], bytes]

LOCAL = "local"
"""The network of the example in Cyberwave's documentation, which no engine has by itself."""


_NO_ADDRESS = (
    "The address of its camera is not known until edge.json and cameras.json of the configuration directory can be read: "
    "what runs goes on, and nothing is started"
)

OF_ONE = Exception
"""What a twin's row may make fail. Anybody may have written it, so whatever it is, it is that twin's trouble alone."""


class Trouble(msgspec.Struct, frozen=True):
    """What people are to hear of a twin's driver; `kind` is the alert's. It runs nevertheless with «driver_health»."""

    twin: str
    kind: Literal["error", "driver_start_failure", "driver_health"]
    text: str
    name: str = ""
    """The driver's container, where that much is known."""


def trouble_of(twin: str, error: Exception, name: str = "") -> Trouble:
    """That its driver cannot be started; errors that explain themselves have the words."""
    explained = isinstance(error, InvalidInput | Refused)
    text = str(error) if explained else f"its driver cannot be read: {error!r:.200}"
    return Trouble(twin, "driver_start_failure", text, name)


class DriverPlan(msgspec.Struct, frozen=True):
    """One driver that is to run. `host` is how it reaches this node; `variables` are those of its `params`, in their order.

    `camera`: its twin, or a child of it, sees.
    """

    twin: str
    name: str
    driver: Driver
    options: RunOptions
    variables: Mapping[str, str]
    children: tuple[str, ...] = ()
    network: str = HOST
    host: str = LOOPBACK
    camera: bool = False


class Plans(msgspec.Struct, frozen=True):
    """All of it. `undecided` are those of which something must be looked up before they can be started: a network as a rule."""

    drivers: Sequence[DriverPlan] = ()
    troubles: Sequence[Trouble] = ()
    undecided: Sequence[DriverPlan] = ()

    @property
    def networks(self) -> frozenset[str]:
        """Those that must be looked up."""
        return frozenset(plan.network for plan in self.undecided if not plan.host)


def planned(
    served: Sequence[Served],
    device: Device,
    networks: Networks,
    names: Mapping[str, str] = {},
    read: Read = read_below,
) -> Plans:
    """`names` are those that drivers have already, by twin: no driver is started anew because another one has come.

    `read` gives what is in an `--env-file`: of a directory the file by that path; it raises OSError, or InvalidInput in words that follow the file's name.
    """
    family = Family.of(served)
    choices, troubles = _choices(served, family, device)
    uuids = [twin.uuid for twin, _ in choices]
    drivers: list[DriverPlan] = []
    undecided: list[DriverPlan] = []
    for twin, driver in choices:
        name = names.get(twin.uuid) or driver_container(twin.uuid, uuids)
        children = family.children(twin.uuid)
        camera = bool(children) or linking.is_camera(twin.body, twin.asset)
        plan = DriverPlan(twin.uuid, name, driver, RunOptions(), {}, children, camera=camera)
        try:
            plan = _with_options(plan, twin, device, read)
            placed, remark = _placed(plan, device, networks)
        except OF_ONE as error:
            troubles.append(trouble_of(twin.uuid, error, name))
            continue
        remarks = filter(None, (remark, _prefix_of_its_own(plan, device)))
        troubles += [Trouble(twin.uuid, "driver_health", text, name) for text in remarks]
        if device.config.video_device(twin.uuid) == FORGOTTEN:
            troubles.append(Trouble(twin.uuid, "driver_health", _NO_ADDRESS, name))
            undecided.append(placed)
        else:
            (undecided if placed.host == "" else drivers).append(placed)
    return Plans(drivers, troubles, undecided)


class Family(msgspec.Struct, frozen=True):
    """Which twins are cameras of another one, whose driver serves them: by UUID, of the camera to that of the other."""

    carried: Mapping[str, str]

    @staticmethod
    def of(served: Sequence[Served]) -> Family:
        """Only twins of this device count."""
        bodies = {twin.uuid: twin.body for twin in served}
        above = {
            twin.uuid: parent
            for twin in served
            if (parent := linking.parent_of(twin.body)) in bodies
            and linking.is_camera(twin.body, twin.asset)
        }
        return Family({uuid: top for uuid in above if (top := _top(uuid, above)) is not None})

    def children(self, parent: str) -> tuple[str, ...]:
        """The cameras that a twin's driver serves, sorted."""
        return tuple(sorted(uuid for uuid, top in self.carried.items() if top == parent))


def _top(uuid: str, above: Mapping[str, str]) -> str | None:
    """The first one upwards that is no camera child itself; None in a circle, where each is on its own."""
    seen = {uuid}
    while uuid in above:
        uuid = above[uuid]
        if uuid in seen:
            return None
        seen.add(uuid)
    return uuid


def _choices(
    served: Sequence[Served], family: Family, device: Device
) -> tuple[list[tuple[Served, Driver]], list[Trouble]]:
    by_uuid = {twin.uuid: twin for twin in served}
    bodies = {twin.uuid: twin.body for twin in served}
    choices: list[tuple[Served, Driver]] = []
    troubles: list[Trouble] = []
    for twin in served:
        if twin.uuid in family.carried:
            continue
        cameras, attached = family.children(twin.uuid), linking.children_of(twin.uuid, bodies)
        models = [by_uuid[child].asset for child in dict.fromkeys((*cameras, *attached))]
        try:
            driver = _choice(twin, models, device)
        except OF_ONE as error:
            troubles.append(trouble_of(twin.uuid, error))
            continue
        if driver is not None:
            choices.append((twin, driver))
        elif linking.parent_of(twin.body) not in by_uuid:
            troubles.append(_no_driver(twin))
    return choices, troubles


def _choice(
    twin: Served, children: Iterable[Mapping[str, object]], device: Device
) -> Driver | None:
    driver = chosen(twin.body, twin.asset, children, device.platform)
    if driver is None:
        return None
    overrides = device.config.overrides
    registry_id = str(twin.asset.get("registry_id") or "")
    image = overrides.get(twin.uuid) or overrides.get(registry_id)
    if image:
        return Driver(driver.key, tagged(image, device.environment))
    return (
        replace(driver, image=tagged(driver.image, device.environment)) if driver.image else driver
    )


def _no_driver(twin: Served) -> Trouble:
    name = twin.body.get("name") or twin.uuid
    known = "" if twin.asset else " Its asset is not known on this device yet."
    return Trouble(
        twin.uuid,
        "error",
        f"No drivers specified: neither twin «{name}» ({twin.uuid}) nor its asset has «metadata.drivers»."
        f"{known} Add a driver to one of them.",
    )


def _with_options(plan: DriverPlan, twin: Served, device: Device, read: Read) -> DriverPlan:
    """Raises InvalidInput for options that cannot be read, Refused for what the driver may not have."""
    options, driver = parsed(plan.driver.params), plan.driver
    private = [*device.private, device.directory / CREDENTIALS]
    needed = asked(options, [str(path) for path in private], most_memory=device.limits.memory)
    if driver.command:
        needed = ["command", *needed]
        _check_native(options)
    needed += [f"--env-file {file}" for file in options.files if _inside(file, device) is None]
    registry_id = str(twin.asset.get("registry_id") or "")
    names = trusted_by(driver, registry_id, options, device.variables)
    is_trusted = not set(names).isdisjoint(device.trusted)
    if needed and not is_trusted:
        raise Refused(_not_given(driver, needed, names, another_program(options, device.variables)))
    if ours := [name for name in options.config.get("Labels", {}) if name.startswith("io.skerry.")]:
        raise InvalidInput(f"params: label «{ours[0]}» belongs to the node")
    variables = dict(_from_files(options.files, device, read)) | dict(options.environment)
    by_asset = driver.of_asset and registry_id in device.trusted and not driver.command
    more = needed or (is_trusted and volumes(options))
    if more and not by_asset and (found := foreign_start(variables, device.variables)):
        raise Refused(
            f"params: a driver that is trusted by its command or image is given no {', '.join(found)}: it might run something else. "
            "If it does not, add the name to «cyberwave.driver_variables» in the node's settings"
        )
    own = {name: _value(name, value, device) for name, value in variables.items()}
    known_values = {name: value for name, value in own.items() if value is not None}
    given = options if is_trusted else with_own_volumes(options, twin.uuid)
    return replace(plan, options=given, variables=known_values)


def _prefix_of_its_own(plan: DriverPlan, device: Device) -> str:
    """What is to be said of a driver whose params would have it speak elsewhere; empty: nothing."""
    said = [name for name in (*PREFIXES, "CYBERWAVE_ENVIRONMENT") if name in plan.variables]
    own = {**device.config.variables, "CYBERWAVE_ENVIRONMENT": device.environment}
    if not said or sdk_prefix({**own, **plan.variables}) == device.topic_prefix:
        return ""
    return f"params: {', '.join(said)}: only the device says what topics begin with («{device.topic_prefix}»), and no others are the driver's"


def _not_given(
    driver: Driver, needed: Sequence[str], names: Sequence[str], others: Sequence[str]
) -> str:
    known = " or ".join(f"«{name}»" for name in names)
    way = f"If it is to have that, add {known} to «cyberwave.privileged» in the node's settings"
    if others and not driver.command:
        other = f"{', '.join(others)}: with that another program may run in the image"
        named = any(one.startswith("-e ") for one in others)
        harmless = ", name harmless variables in «cyberwave.driver_variables»" if named else ""
        way = (
            f"{other}. {way}"
            if names
            else f"{other}. Take it away{harmless}, or give the driver to the asset"
        )
    what = driver.image or shlex.join(driver.command)
    return f"{what} asks for {', '.join(needed)}, which no driver is given by itself. {way}"


def _check_native(options: RunOptions) -> None:
    given = (options.networks, options.privileged, options.gpus, options.host, options.config)
    if any(given):
        raise InvalidInput(
            "params: a driver with «command» runs on the device itself and takes only -e and --env-file"
        )


def _inside(file: str, device: Device) -> PurePath | None:
    """Its path in the configuration directory, as it is written; None: it is not there, or no file for any driver.

    In the library drivers write themselves, so what a file there is, is not the device's word.
    """
    path = Path(os.path.abspath(file))  # noqa: PTH100 - `absolute` leaves «..», `resolve` follows links
    for own in (device.directory, device.directory.resolve()):
        if path != own and path.is_relative_to(own):
            inside = path.relative_to(own)
            is_library = inside.parts[0].casefold() == LIBRARY
            return None if is_library or path.suffix.casefold() == ".json" else inside
    return None


def _from_files(files: Iterable[str], device: Device, read: Read) -> Mapping[str, str | None]:
    found: dict[str, str | None] = {}
    for file in files:
        try:
            path, inside = Path(file), _inside(file, device)
            root, below = (
                (path.parent, PurePath(path.name)) if inside is None else (device.directory, inside)
            )
            content = read(root, below).decode()
        except OSError as error:
            raise InvalidInput(f"cannot read {file}: {error.strerror}") from error
        except InvalidInput as error:
            raise InvalidInput(f"cannot read {file}: it {error}") from error
        except UnicodeDecodeError:
            raise InvalidInput(f"cannot read {file}: it is not UTF-8 text") from None
        found |= variables_of(content, file)
    return found


def _value(name: str, value: str | None, device: Device) -> str | None:
    """Without a value it is the device's own, as far as that is no secret; None: left out, as Docker does."""
    if value is not None:
        return value
    if looks_secret(name):
        raise InvalidInput(f"params: «-e {name}» asks for a secret of the device; give it a value")
    return device.config.variables.get(name)


def _placed(plan: DriverPlan, device: Device, networks: Networks) -> tuple[DriverPlan, str]:
    """The driver in its network, and what is to be said of that. No host: it is not known yet how it reaches this node."""
    if plan.driver.command:
        return plan, ""
    if device.system != "linux":
        return replace(plan, network="", host="host.docker.internal"), ""
    wanted = plan.options.networks[-1] if plan.options.networks else HOST
    if (host := networks.host(wanted)) is not None:
        return replace(plan, network=wanted, host=host), ""
    why = networks.refused.get(wanted)
    if why is None:
        return replace(plan, network=wanted, host=""), ""
    if wanted == LOCAL:
        words = (
            "params: the container engine has no network «local», which Cyberwave's documentation names as an example: "
            "the driver is in the device's own network, «host»"
        )
        return plan, words
    raise Refused(f"params: {why}")
