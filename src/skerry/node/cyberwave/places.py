"""Where the parts that serve Cyberwave's drivers are on this node: directories, ports, programs, and what is in memory only."""

from __future__ import annotations

import logging
import os
import platform
import pwd
import re
import secrets
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import msgspec

from skerry.core.cyberwave.knobs import knobs_of
from skerry.kit.disk import Disk
from skerry.kit.errors import Refused
from skerry.kit.flattening import flatten
from skerry.kit.tmpfs import Tmpfs
from skerry.node.broker.commands import GatePlan
from skerry.node.broker.config import mosquitto_conf
from skerry.node.cyberwave.wiring import CyberwaveParts
from skerry.node.models.layout import DIRECTORY, DIRECTORY_MODE, models_root
from skerry.node.outside import Outside
from skerry.node.store.known_config import KnownConfigStore
from skerry.node.twins.config_dir import (
    ConfigDirectory,
    Host,
    Own,
    default_directory,
    disk_for,
)
from skerry.node.twins.legacy_config import LEGACY
from skerry.node.workloads.runtimes.secret_files import IN_MEMORY, MEMORY, file_system, is_ours

_LARGEST = 32 * 1024 * 1024
"""Of a message, as Cyberwave's own broker has it."""

_SHARED_FILES = 16384
"""Of the memory that containers share. Zenoh has one for each publisher and one for each pool; the agent looks at all of them."""

_PARTS = ("broker", "bus", "contracts.cyberwave_api", "drivers", "twins")
"""Packages that are about drivers and workers alone."""

log = logging.getLogger(__name__)

BUS = "bus"
_SHARED_PART = 4
"""The device's memory, divided by it, where the settings say nothing."""

_EFFECTIVE = re.compile(r"^CapEff:\s*([0-9a-f]+)$", re.MULTILINE)
_SYS_RESOURCE = 24
"""The capability's bit."""

_SECRET = "secret"  # noqa: S105 - a file's name


def gate_plan(parts: CyberwaveParts) -> GatePlan:
    """Raises Refused where what drivers publish would be written to a disk that is encrypted for everything else."""
    settings = parts.settings.cyberwave
    return GatePlan(
        parts.settings.run_dir / "broker",
        _in_memory(parts) / "journal",
        settings.mqtt_port,
        settings.rest_port,
        settings.journal_limit,
        min(_LARGEST, settings.journal_limit * 5 // 8),  # less than the share of one token
    )


class Shared(msgspec.Struct, frozen=True):
    """What drivers and workers share with each other, and with nobody else: memory (None: none), and the data bus's files."""

    memory: Path | None
    bus: Path


def prepare(plan: GatePlan, disk: Disk) -> bytes:
    """Makes what broker and gate find at their start; returns what tokens are made of. Raises Refused, OSError."""
    disk.make_directory("broker.directory", plan.run)
    memory = plan.journal.parent
    memory.mkdir(mode=0o700, exist_ok=True)
    if not is_ours(memory):
        raise Refused(
            f"cannot serve drivers: {memory} is not this node's alone. Remove it: rm -r {memory}"
        )
    user = pwd.getpwuid(os.geteuid()).pw_name
    conf, path = (
        mosquitto_conf(plan.run / "broker", user, plan.largest, plan.memory).encode(),
        plan.run / "mosquitto.conf",
    )
    if not path.is_file() or path.read_bytes() != conf:
        disk.write_atomic("broker.conf", path, conf)
    return _secret(memory / _SECRET)


def shared_places(memory: Path, on_disk: Path, size: int, *, seals: bool) -> Shared:
    """Makes them below `memory`, each in a tmpfs of its own of so many bytes. Raises OSError.

    Without one, containers share no memory: they would fill what the gate's journal and secrets are in. Where the node
    encrypts, a bus of files is in memory as well: its programs write their samples as they are. Else it is `on_disk`.
    """
    shared: Path | None = memory / "shared"
    if fault := _bounded(memory / "shared", size, _SHARED_FILES):
        log.warning("containers of drivers share no memory, Zenoh goes by TCP: %s", fault)
        shared = None
    if not seals:
        return Shared(shared, on_disk)
    if fault := _bounded(memory / BUS, size):
        log.warning("files of the data bus have no limit but that of all memory: %s", fault)
    _remove_open(on_disk)
    return Shared(shared, memory / BUS)


def shared_size(setting: int | None) -> int:
    """What each of them may have, in bytes."""
    return setting or device_memory() // _SHARED_PART


def _remove_open(on_disk: Path) -> None:
    """Samples of a time when nothing was encrypted."""
    flatten(on_disk)
    shutil.rmtree(on_disk, ignore_errors=True)
    if on_disk.exists():
        log.warning(
            "samples that are not encrypted are still in %s. Remove it: rm -r %s", on_disk, on_disk
        )


def device_memory() -> int:
    """In bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _bounded(place: Path, size: int, files: int = 0) -> str:
    place.mkdir(exist_ok=True)
    if fault := Tmpfs(place, size, files).mounted():
        return f"cannot mount a tmpfs at {place}: {fault}"
    return ""


def may_raise_limits(process: Path = Path("/proc/self/status")) -> bool:
    """Whether this process may, and so an engine of root's on this device."""
    try:
        found = _EFFECTIVE.search(process.read_text())
    except OSError:
        return False
    return found is not None and bool(int(found[1], 16) >> _SYS_RESOURCE & 1)


def config_directory(
    parts: CyberwaveParts, outside: Outside
) -> tuple[ConfigDirectory, Path | None]:
    """The configuration directory, and where it may be migrated from: nothing is put into one that somebody has chosen.

    What is written there is noted in `outside`, for the erasure of this node.
    """
    settings, clock = parts.settings.cyberwave, parts.host.clock
    path, usual = settings.config_dir, False
    if path is None:
        path, usual = default_directory(settings.variables, Path.home(), _home_of)
    host = Host(platform.node(), uuid.getnode(), platform.system(), platform.machine())
    own, opened = Own(settings.variables, settings.environment or ""), parts.opened
    store = KnownConfigStore(opened.writer, opened.reader, opened.cipher)
    disk = disk_for(path, outside.note)
    found = ConfigDirectory(path, own, host, disk, clock, store)
    return found, LEGACY if usual else None


def lead_to_models(
    directory: ConfigDirectory, data_dir: Path, outside: Outside, disk: Disk
) -> None:
    """Makes the models' cache, and the link to it where documentation says that models are. Raises OSError."""
    cache = models_root(data_dir)
    disk.make_directory("cyberwave.models", cache, DIRECTORY_MODE)
    outside.note_link(directory.path / DIRECTORY, cache)
    directory.lead(DIRECTORY, cache)


def _in_memory(parts: CyberwaveParts) -> Path:
    if file_system(MEMORY, Path("/proc/self/mounts").read_text()) in IN_MEMORY:
        return MEMORY / f"skerry-gate-{parts.owner}"
    if parts.opened.cipher.seals:
        raise Refused(
            f"cannot serve drivers: what they publish would be written to a disk in clear: {MEMORY} is not tmpfs. Mount tmpfs there"
        )
    return parts.settings.run_dir / "gate"


def _secret(path: Path) -> bytes:
    """Lives as long as the instances whose tokens are made of it: until the next boot."""
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.write_bytes(secrets.token_bytes(32))
        draft.chmod(0o600)
        draft.rename(path)
    return path.read_bytes()


def _home_of(user: str) -> Path | None:
    try:
        return Path(pwd.getpwnam(user).pw_dir)
    except KeyError:
        return None


def set_log_level(variables: Mapping[str, str]) -> None:
    """How much the node logs about drivers and workers, where the documented variable says it."""
    if variables.get("CYBERWAVE_EDGE_LOG_LEVEL", "").strip():
        for part in _PARTS:
            logging.getLogger(f"skerry.node.{part}").setLevel(knobs_of(variables).log_level.upper())
