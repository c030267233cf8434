"""Secrets as a part of the composition root: the node's key, its files in memory, and who is told of new values."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from skerry.core.secrets import files_of
from skerry.kit.errors import Refused
from skerry.node.host import Host
from skerry.node.identity import Identity
from skerry.node.introduction import Introduction
from skerry.node.node_settings import NodeSettings
from skerry.node.secrets.key_file import keep_key, read_key
from skerry.node.secrets.on_demand import SecretsOnDemand
from skerry.node.store.instances import InstanceStore
from skerry.node.store.opening import OpenedStore
from skerry.node.workloads.runtimes.secret_files import MEMORY, SecretFiles
from skerry.wire.workload import Assignment

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from skerry.node.secrets.room import SecretRoom


class Renewal:
    """Gives what runs new content for its files, where a new value does not restart it; before that, its log masks it.

    `mask` is the runtime's, which is made later.
    """

    mask: Callable[[str, Sequence[str]], Awaitable[None]]

    def __init__(self, files: SecretFiles) -> None:
        self._files = files

    async def __call__(
        self, wish: Assignment, values: Mapping[str, bytes], forms: Sequence[str]
    ) -> None:
        staying = {use.file_name for use in wish.spec.secrets if not use.restart}
        new = {name: data for name, data in files_of(wish.spec, values).items() if name in staying}
        if new:
            await self.mask(wish.workload, forms)
            await asyncio.to_thread(self._files.replace, wish.workload, new)


class NodeSecrets(msgspec.Struct, frozen=True):
    """What the agent builds for secrets."""

    values: SecretsOnDemand
    files: SecretFiles
    renewal: Renewal
    introduction: Introduction
    settings: NodeSettings
    opened: OpenedStore

    async def introduce(self, fingerprint: str) -> None:
        """Tells the hub who this is, with the key that it has already, and as which device twins know it (empty: it serves none)."""
        self.introduction.fingerprint = fingerprint
        try:
            key = await asyncio.to_thread(read_key, self.settings.data_dir, self.opened.cipher)
        except (Refused, OSError) as error:
            log.warning("%s", error)  # who needs secrets waits, and says so
            key = None
        await self.introduction.insist(b"" if key is None else key.public)


def build_secrets(
    settings: NodeSettings,
    identity: Identity | None,
    host: Host,
    opened: OpenedStore,
    instances: InstanceStore,
    *,
    owner: str,
) -> NodeSecrets:
    """The node's secrets; loaded with the first workload that needs one."""
    introduction = Introduction(settings, identity, opened.state, host)
    files = SecretFiles(MEMORY / f"skerry-{owner}", instances.living)
    renewal = Renewal(files)

    def living() -> Iterable[Assignment]:
        rows = instances.load().values()
        beside = (row.beside for row in rows)
        return [row.assignment for row in (*rows, *beside) if row is not None and row.instances]

    def build() -> SecretRoom:
        from skerry.node.secrets.opening import in_child, in_this_process  # noqa: PLC0415 - most nodes have none
        from skerry.node.secrets.room import Keys, SecretRoom  # noqa: PLC0415

        keys = Keys(
            opened.state.node_id,
            lambda: read_key(settings.data_dir, opened.cipher),
            lambda key: keep_key(settings.data_dir, key, opened.cipher, host.disk),
            introduction.tell,
        )
        open_ = in_this_process if opened.cipher.seals else in_child
        return SecretRoom(keys, open_, living, renewal, host.clock, host.chance)

    values = SecretsOnDemand(build, living)
    return NodeSecrets(values, files, renewal, introduction, settings, opened)
