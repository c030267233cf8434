"""What serves Cyberwave's drivers and workers on this node, put together.

directory      the twins' files and the documented configuration, which people and drivers edit
twins          shared rows, so they are there without a hub
broker, gate   what drivers speak to: workloads of the device, which outlive the agent
link, tokens   the agent's end of the gate
"""

from __future__ import annotations

import os
import platform
import pwd
import secrets
import shutil
import uuid
from pathlib import Path

from skerry.core.cyberwave.names import fingerprint
from skerry.kit.errors import Refused
from skerry.kit.tasks import Guard, Tasks
from skerry.node.broker.children import BrokerWorkloads
from skerry.node.broker.commands import GatePlan
from skerry.node.broker.config import mosquitto_conf
from skerry.node.broker.granting import Granting
from skerry.node.broker.link import GateLink
from skerry.node.cyberwave_wiring import CyberwaveParts
from skerry.node.store.twin_files import TwinFileStore
from skerry.node.twin_ports import DeviceConfig
from skerry.node.twins.files import TwinFiles
from skerry.node.twins.rows import TwinStore
from skerry.node.twins.syncing import FileSync
from skerry.node.workloads.runtimes.secret_files import IN_MEMORY, MEMORY, file_system, is_ours

_LARGEST = 32 * 1024 * 1024
"""Of a message, as Cyberwave's own broker has it."""

_REST = 0.2
"""Seconds between two looks at which instances live."""

_ELSEWHERE = ("/usr/sbin", "/usr/local/sbin")


class CyberwaveRoom:
    """Built at the agent's start; `open` comes before anything is started, then `follow`."""

    def __init__(self, parts: CyberwaveParts) -> None:
        self._parts = parts
        settings = parts.settings.cyberwave
        self._run = parts.settings.run_dir / "broker"
        self._memory = _in_memory(parts)
        journal = self._memory / "journal"
        plan = GatePlan(
            self._run,
            journal,
            settings.mqtt_port,
            settings.rest_port,
            settings.journal_limit,
            min(_LARGEST, settings.journal_limit * 3 // 4),
        )
        self._plan = plan
        self.config = _config(parts)
        self.link = GateLink(self._run, journal, parts.host.clock, lambda _session: 0)
        self.sources = [BrokerWorkloads(plan, _mosquitto(settings.mosquitto))]
        self.tokens: Granting
        self.twins: TwinStore | None = None
        self._files: FileSync | None = None

    async def open(self) -> None:
        """Directories, keys and the twins that this device serves. Raises Refused, OSError, InvalidInput, Transient."""
        parts = self._parts
        disk = parts.host.disk
        disk.make_directory("broker.directory", self._run)
        _make_own(self._memory)
        user = pwd.getpwuid(os.geteuid()).pw_name
        conf = mosquitto_conf(self._run / "broker", user, self._plan.largest)
        disk.write_atomic("broker.conf", self._run / "mosquitto.conf", conf.encode())
        self.tokens = Granting(_secret(self._memory / "secret"), self._run / "tokens.json", disk)
        await self._open_twins()
        self._grant_again()

    def follow(self, tasks: Tasks) -> None:
        """The room's loops."""
        tasks.forever(self.link.keep(), name="gate")
        tasks.forever(self._tell_tokens(), name="tokens of drivers")
        tasks.forever(self._end_tokens(), name="ends of tokens")
        if self.twins is not None and self._files is not None:
            tasks.forever(self.twins.follow(), name="twins")
            tasks.forever(self._files.run(), name="files of twins")

    async def _open_twins(self) -> None:
        parts, config = self._parts, self.config
        if not config.environment:
            return
        shared = await parts.shared.open()
        entities = await parts.shared.entities()
        clock, store = parts.host.clock, parts.opened
        self.twins = TwinStore(shared.rows, entities, config.environment, config.fingerprint, clock)
        await self.twins.open()
        self._files = FileSync(
            self.twins,
            TwinFiles(_directory(parts), parts.host.disk),
            TwinFileStore(store.writer, store.reader, store.cipher),
            clock,
            self._warn,
        )

    async def _warn(self, twin: str, words: str) -> None:
        await self._parts.events.tell("skerry.twin.file", words, {"twin": twin})

    def _grant_again(self) -> None:
        """The drivers that run on over an agent's start keep their tokens."""
        for one in self._parts.instances.load().values():
            for row in (one, one.beside):
                if row is not None and row.instance is not None:
                    for source in self.sources:
                        source.launch_for(row.assignment, row.instance.id)
        self.tokens.begin()

    async def _tell_tokens(self) -> None:
        guard = Guard(
            "telling the gate its tokens", self._parts.host.clock, self._parts.host.chance
        )
        seen = 0
        while True:
            seen = await self.tokens.changed.after(seen)
            await guard.run(self.link.tokens)

    async def _end_tokens(self) -> None:
        seen = 0
        while True:
            seen = await self._parts.supervisor.news.after(seen)
            living = {
                row.instance.id
                for one in self._parts.instances.load().values()
                for row in (one, one.beside)
                if row is not None and row.instance is not None
            }
            self.tokens.keep_only(living)
            await self._parts.host.clock.sleep(_REST)


def _config(parts: CyberwaveParts) -> DeviceConfig:
    settings = parts.settings.cyberwave
    mine = fingerprint(platform.node(), uuid.getnode(), platform.system(), platform.machine())
    return DeviceConfig(mine, environment=settings.environment or "", variables=settings.variables)


def _directory(parts: CyberwaveParts) -> Path:
    return parts.settings.cyberwave.config_dir or Path.home() / ".cyberwave"


def _in_memory(parts: CyberwaveParts) -> Path:
    """Where the journal is and what tokens are made of: nothing of it belongs on a disk."""
    if file_system(MEMORY, Path("/proc/self/mounts").read_text()) in IN_MEMORY:
        return MEMORY / f"skerry-gate-{parts.owner}"
    if parts.opened.cipher.seals:
        raise Refused(
            f"cannot serve drivers: what they publish would be written to a disk in clear: {MEMORY} is not tmpfs. Mount tmpfs there"
        )
    return parts.settings.run_dir / "gate"


def _make_own(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    if not is_ours(directory):
        raise Refused(
            f"cannot serve drivers: {directory} is not this node's alone. Remove it: rm -r {directory}"
        )


def _secret(path: Path) -> bytes:
    """Lives as long as the instances whose tokens are made of it: until the next boot."""
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.write_bytes(secrets.token_bytes(32))
        draft.chmod(0o600)
        draft.rename(path)
    return path.read_bytes()


def _mosquitto(chosen: Path | None) -> Path:
    if chosen is not None:
        return chosen
    places = os.pathsep.join((os.defpath, *_ELSEWHERE))
    return Path(shutil.which("mosquitto", path=places) or "mosquitto")
