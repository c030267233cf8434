"""Backups, and the watch over the database, as a part of the composition root."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.tasks import Guard, Tasks
from skerry.node.backups.place import owner_of
from skerry.node.backups.schedule import FIRST, Backups, run_child
from skerry.node.host import Host
from skerry.node.identity import Identity
from skerry.node.limits.storage_watch import StorageWatch
from skerry.node.node_settings import NodeSettings
from skerry.node.store.encryption import Encryption
from skerry.node.store.opening import OpenedStore, integrity_problem
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.rebuilding import FACT, UNTOLD, Rebuilt, Recovered
from skerry.node.store.watch import FILE_EVERY, StoreWatch
from skerry.wire.codec import decode
from skerry.wire.local import BackupStatus


def recover_from_backups(
    settings: NodeSettings, disk: Disk, path: Path, encryption: Encryption
) -> Recovered | None:
    """What `opened` asks when the database is damaged."""
    from skerry.node.backups.recovery import recover  # noqa: PLC0415 - hardly any node ever needs it

    return recover(settings, disk, path, encryption)


class Safekeeping(msgspec.Struct):
    """Runs as long as the agent does."""

    store: OpenedStore
    backups: Backups
    watch: StoreWatch
    events: OwnEvents
    clock: Clock
    chance: random.Random
    lost_with_node: bool

    async def status(self) -> BackupStatus:
        """For people."""
        told = await self.store.state.fact(FACT)
        rebuilt = decode(told.encode(), Rebuilt, "fact «rebuilt»") if told else None
        return msgspec.structs.replace(
            await self.backups.status(),
            rebuilt=str(rebuilt) if rebuilt else "",
            rebuilt_at=rebuilt.at if rebuilt else 0,
            lost_with_node=self.lost_with_node,
        )

    def follow(self, tasks: Tasks) -> None:
        """Keeps watch for as long as the tasks run."""
        _ = tasks.start(self._tell(), name="what was rebuilt")
        tasks.forever(self._watch(), name="watch over the database")
        tasks.forever(self._back_up(), name="backups")

    async def _tell(self) -> None:
        """Once for each database that had to be replaced."""
        state = self.store.state
        if await state.fact(UNTOLD):
            status = await self.status()
            await self.events.tell("skerry.store.rebuilt", status.rebuilt, {})
            await state.set_fact(UNTOLD, "")

    async def _watch(self) -> None:
        guard = Guard("watching the database", self.clock, self.chance)
        while True:
            await self.clock.sleep(FILE_EVERY)
            await guard.run(self.watch.once)

    async def _back_up(self) -> None:
        guard = Guard("making backups", self.clock, self.chance)
        while True:
            await self.clock.sleep(FIRST)
            await guard.run(self.backups.once)


def build_safekeeping(
    settings: NodeSettings,
    identity: Identity | None,
    store: OpenedStore,
    host: Host,
    *,
    events: OwnEvents,
    storage: StorageWatch,
) -> Safekeeping:
    """What keeps the node's own data safe from its disk."""
    check = partial(integrity_problem, store.path)
    watch = StoreWatch(store.path, host.clock, check, partial(check, store.cipher))
    store.writer.on_corrupt(watch.damaged)
    store.state.on_corrupt(watch.damaged)
    store.reader.told = watch.damaged
    backups = Backups(
        settings, owner_of(settings, identity), host.clock, run=partial(run_child, kek=lambda: store.encryption.kek),
        tell=events.tell, left=storage.left, damaged=watch.doubted
    )  # fmt: skip
    ring, where = store.encryption.ring, settings.storage
    elsewhere = where.backup_path is not None and where.backup_passphrase is None
    lost = ring is not None and ring.key_is_beside and elsewhere
    return Safekeeping(store, backups, watch, events, host.clock, host.chance, lost)
