"""Which driver serves a twin on a platform: edge-core's order of choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from skerry.kit.errors import InvalidInput

Body = Mapping[str, Any]

DEFAULT = "default"

_SYSTEMS = {
    "linux": ("linux",),
    "darwin": ("darwin", "macos", "mac", "osx"),
    "windows": ("windows", "win32"),
}
_MACHINES = {
    "x86_64": ("x86_64", "amd64"),
    "amd64": ("x86_64", "amd64"),
    "aarch64": ("aarch64", "arm64"),
    "arm64": ("arm64", "aarch64"),
}


class Platform(msgspec.Struct, frozen=True):
    """What a device is, in Python's words: `platform.system()`, `platform.machine()`; `jetson`: NVIDIA's boards."""

    system: str
    machine: str
    jetson: bool = False

    def keys(self) -> list[str]:
        """The names that drivers have for it, the most specific first."""
        systems = _SYSTEMS.get(self.system.lower(), (self.system.lower(),))
        machines = _MACHINES.get(self.machine.lower(), (self.machine.lower(),))
        exact = [f"{system}-{machine}" for system in systems for machine in machines]
        board = [f"{key}-jetson" for key in exact] if self.jetson else []
        return [*board, *exact, *systems]


class Driver(msgspec.Struct, frozen=True):
    """One entry of `metadata.drivers`: an image with options of `docker run`, or a command on the device itself.

    `key` is where it was found, as in the error messages; `of_asset`: with the asset, not with the twin itself.
    """

    key: str
    image: str = ""
    params: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    of_asset: bool = False


def chosen(twin: Body, asset: Body, children: Iterable[Body], platform: Platform) -> Driver | None:
    """The twin's driver; None when neither twin nor asset has any. `children` are the assets of what is attached to it, cameras first.

    Raises InvalidInput for drivers that cannot be read, or when none is for this platform.
    """
    for owner in (twin, asset):
        drivers = _metadata(owner).get("drivers")
        if drivers:
            if not isinstance(drivers, Mapping):
                raise InvalidInput("«drivers» is no object of platforms and their drivers")
            found = _of_platform(drivers, children, platform)
            return replace(found, of_asset=owner is asset)
    return None


def tagged(image: str, environment: str) -> str:
    """The image with the environment as its tag, where it has no tag and the environment is not production."""
    has_tag = ":" in image.rpartition("/")[2] or "@" in image
    environment = environment.strip().lower()
    return image if has_tag or environment in ("", "production") else f"{image}:{environment}"


def _of_platform(drivers: Body, children: Iterable[Body], platform: Platform) -> Driver:
    keys = platform.keys()
    if len(drivers) > 1:
        ids = [
            str(child.get(name))
            for child in children
            for name in ("registry_id", "registry_id_alias")
        ]
        keys = [one for one in ids if one != DEFAULT] + keys
    for key in [*keys, DEFAULT]:
        if key in drivers:
            return _driver(key, drivers[key])
    there = ", ".join(sorted(map(str, drivers)))
    raise InvalidInput(
        f"no driver is for {platform.keys()[0]}: there are {there}. Add one, or «{DEFAULT}»."
    )


def _driver(key: str, entry: object) -> Driver:
    if isinstance(entry, str):
        entry = {"docker_image": entry}
    if not isinstance(entry, Mapping):
        raise InvalidInput(f"driver «{key}» is no object with «docker_image»")
    image, command = entry.get("docker_image", ""), _words(key, "command", entry.get("command"))
    if not isinstance(image, str) or bool(image.strip()) == bool(command):
        raise InvalidInput(f"driver «{key}» has no «docker_image»")
    (image,) = _words(key, "docker_image", (image,))
    return Driver(key, image.strip(), _words(key, "params", entry.get("params")), command)


def _words(key: str, name: str, words: object) -> tuple[str, ...]:
    if words is None:
        return ()
    if not isinstance(words, Sequence) or isinstance(words, str | bytes):
        raise InvalidInput(f"driver «{key}»: «{name}» is no list of words")
    if not all(isinstance(word, str | int | float) for word in words):
        raise InvalidInput(f"driver «{key}»: «{name}» has something else than words")
    try:
        found = tuple(map(str, words))
        "".join(found).encode()
    except ValueError as error:  # more digits than Python writes out; a surrogate alone
        raise InvalidInput(f"driver «{key}»: «{name}» has what is no word") from error
    if any("\0" in word for word in found):
        raise InvalidInput(f"driver «{key}»: «{name}» has a NUL, which no program can be given")
    return found


def _metadata(body: Body) -> Body:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}
