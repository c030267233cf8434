"""How an agent ends other than by a signal: to start anew, or for ever. What `orders` needs for it, and the hub's last order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

import msgspec

from skerry.kit.authorities import certificates_of
from skerry.node.audit.desk import AuditDesk
from skerry.node.desired_state import StoredDesired
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.host import Host
from skerry.node.identity import Identity
from skerry.node.node_settings import NodeSettings
from skerry.node.ports import OutOfService
from skerry.node.retirement import Ended, Mark, read_mark, why_not_obeyed, write_mark
from skerry.node.sync.sync import Sync
from skerry.node.workloads.runtimes.router import Runtimes
from skerry.node.workloads.supervise import Supervisor

log = logging.getLogger(__name__)

AUDIT = "audit"
"""What the entries of the audit log are called among the lanes."""

LAST_WORDS = 1.5
"""Seconds for the hub to hear that the workloads have ended, and what they published last."""


ENDING = 120.0
"""Seconds for what runs on a device that is out of service; then it is erased all the same."""


class Departure:
    """`how` says why the agent ends, once `stopped` is set."""

    def __init__(  # noqa: PLR0913 - all that has to end
        self,
        settings: NodeSettings,
        identity: Identity | None,
        host: Host,
        *,
        desired: StoredDesired,
        supervisor: Supervisor,
        runtime: Runtimes,
        sync: Sync,
        files: FilesOnDemand,
        audit: AuditDesk,
    ) -> None:
        self.how: Ended = "stopped"
        self.stopped = asyncio.Event()
        self._settings = settings
        self._identity = identity
        self._host = host
        self._desired = desired
        self._supervisor = supervisor
        self._runtime = runtime
        self._sync = sync
        self._files = files
        self._audit = audit
        self._unheeded = ""

    async def end_all(self) -> None:
        """Nothing is wanted from now on; returns when nothing runs.

        What serves others ends after them: drivers whose broker ends first wait for it with their own end.
        """
        self._desired.ask_stop_all(services=False)
        await self._supervisor.all_ended(but=self._desired.serves)
        self._desired.ask_stop_all(services=True)
        await self._supervisor.all_ended()

    async def end_workloads(self) -> None:
        """Nothing is wanted from now on; returns when nothing runs and, if it listens, the hub knows."""
        await self.end_all()
        with contextlib.suppress(TimeoutError):  # the rest is on the disk
            async with asyncio.timeout(LAST_WORDS):
                await self._supervisor.all_reported()

    async def unsent(self) -> Mapping[str, int]:
        """What the hub does not have yet, by lane; files as «files», entries of the audit log as «audit»."""
        waiting = {
            str(lane): count
            for lane, count in (await self._sync.waiting()).items()
            if count and lane != "state"
        }
        files, entries = self._files.waiting(), self._audit.untold()
        return (
            waiting
            | ({"files": files.count} if files is not None and files.count else {})
            | ({AUDIT: entries} if entries else {})
        )

    def ahead(self) -> float:
        """Seconds by which the clock here is ahead of the hub's, as far as is known."""
        return self._sync.clock_skew or 0.0

    def restart(self) -> None:
        """The agent ends, and another one follows."""
        self.how = "restart"
        self.stopped.set()

    async def told_to_retire(self, error: OutOfService) -> bool:
        """The hub says that this device is out of service: marks it for erasing, if the hub may say so.

        Returns whether it is obeyed. Raises OSError where the mark cannot be written: the hub will say so again.
        """
        assert self._identity is not None  # noqa: S101 - it has said hello
        refusal = why_not_obeyed(error.order, self._identity, error.hub)
        if refusal:
            if refusal != self._unheeded:
                log.warning("the hub's order to erase this device is not obeyed: %s", refusal)
            self._unheeded = refusal
            return False
        log.warning("device «%s» was decommissioned: it erases itself", error.order.name)
        hubs = list(dict.fromkeys([error.hub, *self._identity.hub_urls, self._identity.hub_url]))
        mark = Mark(
            error.order, self._host.clock.wall_ns(), hubs, roots=self._roots(), authorities=self._authorities(),
        )  # fmt: skip
        write_mark("erase.mark", self._settings.data_dir, self._host.disk, mark)
        return True

    def _roots(self) -> str:
        """Whom to believe about the certificate of erasure: the fleet's roots, which go with the rest."""
        if self._identity is None or not self._identity.certificate:
            return ""
        from skerry.node.trust.files import DIRECTORY as TRUST  # noqa: PLC0415
        from skerry.node.trust.files import ROOTS_FILE  # noqa: PLC0415 - only where there are certificates

        return (self._settings.data_dir / TRUST / ROOTS_FILE).read_text()

    def _authorities(self) -> str:
        """The same where there are no certificates: `hub.ca_file` may lie in what is erased. Without it, the order stands."""
        path = self._settings.hub.ca_file
        try:
            return certificates_of(path)
        except OSError as error:
            log.warning("cannot read %s: %s", path, error.strerror)
            return ""

    async def retire(self) -> None:
        """Ends what runs, then the agent, for ever. The mark is durable; what will not end does not keep the rest from it."""
        try:
            async with asyncio.timeout(ENDING):
                await self.end_all()
                await self._runtime.shut_down()
        except TimeoutError:
            self._note(f"what ran here had not ended after {ENDING:.0f} s")
        self.how = "retired"
        self.stopped.set()

    def _note(self, words: str) -> None:
        log.warning("%s", words)
        mark = read_mark(self._settings.data_dir)
        if mark is not None:
            noted = msgspec.structs.replace(mark, left=[*mark.left, words])
            write_mark("erase.mark", self._settings.data_dir, self._host.disk, noted)
