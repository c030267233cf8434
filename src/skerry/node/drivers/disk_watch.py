"""Watches the disks that drivers and workers write to: when one runs short, whoever holds more than its share of it is ended.

Nothing is measured before that, so that an idle device is asked for free space only. What was ended is held down until
its room is there again, and tried once every so often; people hear of it by `edge_disk_saturation`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path
from typing import Protocol

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import SkerryError
from skerry.kit.units import format_duration, format_size
from skerry.node.drivers.disk_measure import held_in, space_of, trim, unnamed
from skerry.node.drivers.disk_use import SOONEST, Space, Use, chosen, greatest, pause, share
from skerry.node.drivers.flapping import PAUSE
from skerry.node.drivers.telling import Notice, Teller, over
from skerry.node.ports import Excess
from skerry.node.twin_ports import Written

KIND = "edge_disk_saturation"
REASON = "storage"
"""The exit reason, as of a workload whose own directory holds too much."""

_SHARE = 5
"""The pause after measuring is at least so many times as long as that took."""

log = logging.getLogger(__name__)


class Program(msgspec.Struct, frozen=True):
    """A driver, or the workers, that runs: `twins` hear of it, `places` are what of the node it may write to besides its container.

    `pid` is its first process, 0 without a container; `setting` what it may hold, None: the disk divided by `part`.
    """

    workload: str
    instance: str
    twins: tuple[str, ...]
    places: tuple[Path, ...]
    pid: int
    part: int
    setting: int | None = None


class Bus(msgspec.Struct, frozen=True):
    """A data bus of files on a disk: what it may hold there, in bytes."""

    place: Path
    bound: int


class Around(Protocol):
    """What is watched, and what is done about it."""

    @property
    def fixed(self) -> Sequence[Path]:
        """Places of the file systems that are looked at whether or not anything runs."""
        ...

    @property
    def bus(self) -> Bus | None: ...

    def programs(self) -> Sequence[Program]: ...

    def twins(self) -> Collection[str]:
        """All of this device's."""
        ...

    async def written(self, instance: str) -> Written:
        """Raises SkerryError."""
        ...

    async def layer_size(self, instance: str) -> int:
        """Raises SkerryError."""
        ...

    def end(self, excess: Excess) -> None: ...


class _Hold(msgspec.Struct, frozen=True):
    program: Program
    since: int
    why: str
    places: Sequence[Path]


class DiskWatch:
    """`run` looks for ever; `held` says why a program is to be down, `changed` rings when that may be another."""

    def __init__(self, around: Around, teller: Teller, clock: Clock) -> None:
        self.changed = Bell()
        self._around = around
        self._teller = teller
        self._clock = clock
        self._written: dict[str, Written] = {}
        """By instance."""
        self._shared: Set[Path] = set()
        """Where several of those that run may write, or might."""
        self._holds: dict[str, _Hold] = {}
        self._told: dict[str, Collection[str]] | None = None
        """The twins that heard of each; None: it is not known what an earlier agent told."""

    def held(self, workload: str) -> str:
        """Why it is to be down; empty: it is not."""
        hold = self._holds.get(workload)
        return "" if hold is None else hold.why

    def release_twin(self, twin: str) -> bool:
        """Somebody wants its driver to be started; whether it was held."""
        names = [name for name, hold in self._holds.items() if hold.program.twins == (twin,)]
        for name in names:
            self._release(name)
        return bool(names)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep(await self.look())

    async def look(self) -> float:
        """Looks once; returns after how many seconds to look again."""
        began = self._clock.monotonic_ns()
        programs = self._around.programs()
        await self._learn(programs)
        self._note_shared(programs)
        spaces = await asyncio.to_thread(self._spaces)
        short = {device: space for device, space in spaces.items() if space.is_short}
        await self._let_go(short)
        if not short:
            if all(space.is_well for space in spaces.values()) and not self._holds:
                self._tell_over()
            return pause(spaces.values())
        await asyncio.to_thread(self._trim, short)
        uses = [await self._use(program, short) for program in programs]
        self._judge(programs, uses, min(short.values(), key=lambda space: space.free))
        took = (self._clock.monotonic_ns() - began) / NS
        return max(SOONEST, _SHARE * took)

    async def _learn(self, programs: Sequence[Program]) -> None:
        """Where containers write: asked once of each."""
        held = {hold.program.instance for hold in self._holds.values()}
        alive = {one.instance for one in programs} | held
        self._written = {name: one for name, one in self._written.items() if name in alive}
        for one in programs:
            if one.pid and one.instance not in self._written:
                try:
                    self._written[one.instance] = await self._around.written(one.instance)
                except SkerryError as error:
                    log.debug("cannot tell where %s writes: %s", one.workload, error)

    def _note_shared(self, programs: Sequence[Program]) -> None:
        """Nobody can tell who has filled a place where several may write: it is held against none of them, nor of who is left."""
        counts = Counter(place for one in programs for place in self._writable(one))
        several = {place for place, count in counts.items() if count > 1}
        self._shared = several | (self._shared & counts.keys())

    def _writable(self, program: Program) -> Sequence[Path]:
        """Besides its container's layer."""
        return (*self._written.get(program.instance, Written()).volumes, *program.places)

    def _own(self, program: Program) -> Sequence[Path]:
        return tuple(place for place in self._writable(program) if place not in self._shared)

    def _spaces(self) -> Mapping[int, Space]:
        places = [*self._around.fixed, *filter(None, (one.layer for one in self._written.values()))]
        found = {}
        for place in places:
            try:
                device, space = space_of(place)
            except OSError:
                continue
            found[device] = space
        return found

    def _trim(self, short: Mapping[int, Space]) -> None:
        bus = self._around.bus
        if bus is None or not bus.place.is_dir():
            return
        space = short.get(bus.place.stat().st_dev)
        freed = 0 if space is None else trim(bus.place, space, bus.bound)
        if freed:
            log.warning(
                "removed the oldest of the data bus, the disk runs short: %s", format_size(freed)
            )

    async def _use(self, program: Program, short: Mapping[int, Space]) -> Use:
        written = self._written.get(program.instance, Written())
        layer = [] if written.layer is None else [written.layer]
        places = [*layer, *self._own(program)]
        sizes = await asyncio.to_thread(lambda: {place: held_in(place, short) for place in places})
        more = 0
        if program.pid:
            disk = None if written.layer is None else _disk_of(written.layer)
            removed = await asyncio.to_thread(unnamed, program.pid)
            # A layer's files may have a device number of the layer's own.
            on_short = disk is None or disk in short
            more = sum(size for at, size in removed.items() if at in short or on_short)
            if disk is None:
                more += await self._layer_size(program)
        largest = max(sizes, key=lambda place: sizes[place], default=None)
        size = max(space.size for space in short.values())
        bound = share(program.setting, program.part, size)
        return Use(program.workload, sum(sizes.values()) + more, str(largest or ""), bound)

    async def _layer_size(self, program: Program) -> int:
        try:
            return await self._around.layer_size(program.instance)
        except SkerryError as error:
            log.debug("cannot tell how much %s has written: %s", program.workload, error)
            return 0

    def _judge(self, programs: Sequence[Program], uses: Sequence[Use], space: Space) -> None:
        """One at a time: what the last one held has to be given back first."""
        by_name = {one.workload: one for one in programs}
        ending = any(name in self._holds for name in by_name)
        victim = None if ending else chosen(uses)
        if victim is not None:
            self._end(by_name[victim.workload], victim, space)
        elif not self._told and not self._holds and (most := greatest(uses)) is not None:
            program = by_name[most.workload]
            self._tell(
                program,
                f"{_short(space)} Of drivers and workers {program.workload} holds most: {format_size(most.bytes)}.",
                most,
            )

    def _end(self, program: Program, use: Use, space: Space) -> None:
        detail = f"it holds {format_size(use.bytes)} of {format_size(use.bound)} on a disk that runs short, most of it at {use.largest}"
        why = f"{detail}; tried again after {format_duration(PAUSE)}, once what is left of it there is less"
        hold = _Hold(program, self._clock.monotonic_ns(), why, self._own(program))
        self._holds[program.workload] = hold
        log.warning("%s is ended: %s", program.workload, detail)
        self._around.end(Excess(program.workload, program.instance, REASON, detail, at_once=True))
        self.changed.ring()
        self._tell(program, f"{_short(space)} {program.workload} was stopped: {detail}.", use)

    async def _let_go(self, short: Mapping[int, Space]) -> None:
        now = self._clock.monotonic_ns()
        for name, hold in list(self._holds.items()):
            if now - hold.since < PAUSE * NS:
                continue
            left = 0
            for place in hold.places if short else ():
                left += await asyncio.to_thread(held_in, place, short)
            size = max((space.size for space in short.values()), default=0)
            if left <= share(hold.program.setting, hold.program.part, size):
                self._release(name)

    def _release(self, workload: str) -> None:
        del self._holds[workload]
        self.changed.ring()

    def _tell(self, program: Program, text: str, use: Use) -> None:
        metadata = {
            "container_name": program.workload,
            "bytes": use.bytes,
            "limit": use.bound,
            "path": use.largest,
            "stopped": program.workload in self._holds,
        }
        notices = (Notice("tell", twin, KIND, "", text, metadata) for twin in program.twins)
        self._teller.give(*notices)
        self._told = {**(self._told or {}), program.workload: program.twins}

    def _tell_over(self) -> None:
        told = {"": self._around.twins()} if self._told is None else self._told
        twins = {twin for heard in told.values() for twin in heard}
        self._teller.give(*(over(twin, KIND) for twin in sorted(twins)))
        self._told = {}


def _disk_of(place: Path) -> int | None:
    """The device number; None: this node cannot look there, as at an engine's of another user."""
    try:
        return place.stat().st_dev
    except OSError:
        return None


def _short(space: Space) -> str:
    return f"The device's disk has {format_size(space.free)} free of {format_size(space.size)}."
