"""Keeps the `wf_*.py` files of `<configuration directory>/workers` as the workflows of this device's twins say it.

Workflows are shared rows, so an outage takes nothing away. A file goes when its workflow is gone at two looks in a row,
and only one that was written here.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from skerry.core.cyberwave.names import is_uuid
from skerry.core.cyberwave.workflows import Brought, brought, is_workflow_file
from skerry.core.merging.bodies import Body, decoded
from skerry.kit.bell import Bell, Rings
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.kit.one_line import one_line
from skerry.node.store.entity_rows import EntityRows
from skerry.node.store.shared_rows import SharedRows
from skerry.wire.codec import decode, encode
from skerry.wire.entities import Declare, EntityRow, Find
from skerry.wire.shared import Declaration

WORKFLOWS = Declaration(strategy="merge", fallback="central_wins", priority="high")

FACT = "cyberwave_workflow_files"
"""The store's fact: names of the files that were written here."""

LOOK_EVERY = 300.0
"""Seconds, whether or not anything was noticed."""

GONE_FOR = 2.0
"""Seconds between the two looks at which a workflow must be gone."""

_REST = 0.2
_MODE = 0o644
_SHOWN = 60

log = logging.getLogger(__name__)


class Facts(Protocol):
    """Single facts that survive a restart (`node.store.state.NodeStore`)."""

    async def fact(self, name: str) -> str | None: ...

    async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None: ...


def workflows_of(environment: str) -> str:
    """The entity of an environment's workflows. Raises InvalidInput for what is no UUID."""
    if not is_uuid(environment):
        raise InvalidInput(
            f"cannot use environment «{environment[:40]}»: that is no UUID, in lower case and with dashes"
        )
    return f"workflows_{environment.replace('-', '')}"


class WorkflowFiles:
    """The files in `directory`. `open` comes first, `follow` runs as long as the agent; `changed` rings when `workflows` are others."""

    def __init__(  # noqa: PLR0913 - everything that it is made of
        self,
        rows: SharedRows,
        entities: EntityRows,
        facts: Facts,
        environment: str,
        twins: Callable[[], Sequence[str]],
        *,
        directory: Path,
        disk: Disk,
        clock: Clock,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self.entity = workflows_of(environment)
        self.workflows: tuple[str, ...] = ()
        self.changed = Bell()
        self._rows = rows
        self._entities = entities
        self._facts = facts
        self._twins = twins
        self._directory = directory
        self._disk = disk
        self._clock = clock
        self._look_every = look_every
        self._written: set[str] = set()
        self._doomed: set[str] = set()
        self._told: tuple[str, ...] = ()
        self._missing: dict[str, str] = {}
        """Files that could not be written at the last look, and why."""

    async def open(self) -> None:
        """Shares the entity from now on, and knows what was written before."""
        await self._entities.declare(self.entity, Declare(WORKFLOWS))
        stored = await self._facts.fact(FACT)
        if stored:
            self._written = set(decode(stored.encode(), list[str], "files of workflows"))
        self._know(brought(await self._bodies(), self._twins()))

    def written(self) -> list[Path]:
        """The files that were written here, also by an agent before this one."""
        return [self._directory / name for name in sorted(self._written)]

    async def follow(self, changes: Sequence[Bell] = ()) -> None:
        """Looks whenever a row, or what rings in `changes`, may be another; for ever."""
        rings = Rings([self._rows.arrived, self._rows.changed, *changes])
        while True:
            rings.note()
            try:
                pause = await self.look()
            except (OSError, Refused, Transient) as error:
                log.warning("cannot keep the workflows' files in %s: %s", self._directory, error)
                pause = self._look_every
            await self._clock.sleep(_REST)
            await rings.next(self._clock, pause)

    async def look(self) -> float:
        """Makes the files what the rows say; returns after how many seconds to look again. Raises OSError, Refused, Transient."""
        found = brought(await self._bodies(), self._twins())
        self._know(found)
        changed = {
            name: file.source
            for name, file in found.files.items()
            if not await asyncio.to_thread(self._holds, name, file.source)
        }
        if changed.keys() - self._written:
            await self._remember(self._written | changed.keys())
        missing: dict[str, str] = {}
        for name, source in changed.items():
            try:
                await asyncio.to_thread(self._write, name, source)
            except (OSError, Refused) as error:
                why = f"cannot write {name} of workflow {found.files[name].workflow}: {error}"
                log.warning("%s", why)
                missing[name] = why
            else:
                log.info("wrote %s, the worker of workflow %s", name, found.files[name].workflow)
        self._missing = missing
        gone = self._written - found.files.keys()
        for name in gone & self._doomed:
            await asyncio.to_thread(self._remove, name)
            log.info("removed %s: its workflow is gone", name)
        removed = gone & self._doomed
        if removed:
            await self._remember(self._written - removed)
        self._doomed = gone - removed
        return GONE_FOR if self._doomed else self._look_every

    async def sync_workflows(self) -> str:
        """As `twin_ports.Workflows`."""
        try:
            await self.look()
        except (OSError, Refused) as error:
            raise Transient(f"cannot keep the workflows' files: {error}") from error
        here = self._written - self._doomed - self._missing.keys()
        answer = f"{len(here)} workers of {len(self.workflows)} workflows are here"
        return "; ".join((answer, *self._missing.values(), *self._told))

    async def remove_workflow_worker(self, files: Sequence[str], workflow: str) -> str:
        """As `twin_ports.Workflows`. What a workflow still brings is back at the next look."""
        if wrong := [name for name in files if not is_workflow_file(name)]:
            raise InvalidInput(
                f"cannot remove «{one_line(wrong[0][:_SHOWN])}»: it is no workflow's file"
            )
        of_it = brought(await self._bodies(), self._twins()).files.values()
        wanted = {*files, *(file.name for file in of_it if workflow and file.workflow == workflow)}
        found = sorted(wanted & self._written)
        try:
            for name in found:
                await asyncio.to_thread(self._remove, name)
        except (OSError, Refused) as error:
            raise Transient(f"cannot remove the workflow's files: {error}") from error
        await self._remember(self._written - wanted)
        return f"removed {', '.join(found)}" if found else "none of its files is here"

    def _know(self, found: Brought) -> None:
        for fault in found.faults:
            if fault not in self._told:
                log.warning("%s", fault)
        self._told = found.faults
        if found.workflows != self.workflows:
            self.workflows = found.workflows
            self.changed.ring()

    async def _remember(self, names: set[str]) -> None:
        """Before a file is written, and after it is gone: what is ours is never forgotten."""
        await self._facts.set_fact(FACT, encode(sorted(names)).decode())
        self._written = names

    def _holds(self, name: str, source: bytes) -> bool:
        path = self._directory / name
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_size != len(source):
                return False
            with path.open("rb") as file:
                held = hashlib.file_digest(file, "sha256").digest()
        except OSError:
            return False
        return held == hashlib.sha256(source).digest()

    def _write(self, name: str, source: bytes) -> None:
        self._disk.make_directory("workflow.directory", self._directory)
        self._disk.write_atomic("workflow.write", self._checked(name), source, _MODE)

    def _remove(self, name: str) -> None:
        if self._directory.is_dir():
            self._disk.unlink("workflow.remove", self._checked(name))

    def _checked(self, name: str) -> Path:
        """Its path, which is in the directory itself. Raises Refused."""
        if self._directory.is_symlink() or not is_workflow_file(name):
            raise Refused(
                f"{self._directory} is a link: no file of a workflow is written behind it"
            )
        return self._directory / name

    async def _bodies(self) -> Mapping[str, Body]:
        """Those that were made at the hub: what a node writes, another one must not run."""
        asked, found = Find(), dict[str, Body]()
        while True:
            page = await self._entities.find(self.entity, asked)
            found |= {row.id: decoded(bytes(row.body)) for row in page.rows if _is_hubs(row)}
            if not page.next:
                return found
            asked = msgspec.structs.replace(asked, after=page.next)


def _is_hubs(row: EntityRow) -> bool:
    return row.by in ("", "hub") and row.status in ("synced", "conflict")
