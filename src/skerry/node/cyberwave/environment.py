"""What serves the twins of one environment on this node: built when the environment is known.

twins, files, alerts     shared rows, so they are there without a hub, and the twins' files
presence                 whether their drivers are there: rows, too
programs                 the drivers and workers themselves (`programs`)
orders                   what the hub's people want of them
REST                     what drivers and workers ask, from all that
"""

from __future__ import annotations

import platform
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec

from skerry.core.cyberwave.knobs import knobs_of
from skerry.kit.tasks import Loops
from skerry.node.broker.alerting import BrokerAlerts
from skerry.node.contracts.cyberwave_api.app import RestSocket, rest_app
from skerry.node.contracts.cyberwave_api.recent import Recent
from skerry.node.contracts.cyberwave_api.sources import Device, Sources
from skerry.node.cyberwave.programs import GateSide, Programs, Twins
from skerry.node.cyberwave.wiring import CyberwaveParts
from skerry.node.data.query import RecordQuery
from skerry.node.drivers.worker import SCRIPTS
from skerry.node.drivers.workflows import WorkflowFiles
from skerry.node.models.layout import models_root
from skerry.node.store.entity_rows import EntityRows
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.twin_files import TwinFileStore
from skerry.node.twin_orders import TwinOrders
from skerry.node.twin_ports import DeviceConfig, DeviceWorkloads
from skerry.node.twins.alert_notices import AlertNotices
from skerry.node.twins.alerts import AlertStore
from skerry.node.twins.commanding import TwinCommands
from skerry.node.twins.config_dir import ConfigDirectory
from skerry.node.twins.file_alerts import FileAlerts
from skerry.node.twins.files import TwinFiles
from skerry.node.twins.presence import HeardHealth, PresenceRows
from skerry.node.twins.rows import TwinStore
from skerry.node.twins.syncing import FileSync


class EnvironmentRoom:
    """`open` comes before anything is started, then `follow`."""

    def __init__(
        self,
        parts: CyberwaveParts,
        directory: ConfigDirectory,
        gate: GateSide,
        rows: SharedRows,
        entities: EntityRows,
    ) -> None:
        config = self.config = directory.config
        """As it was when this was built: the environment and the fingerprint that hold here."""
        self._parts, self._gate, self._directory = parts, gate, directory
        opened, clock = parts.opened, parts.host.clock
        self._twins = TwinStore(rows, entities, config.environment, config.fingerprint, clock)
        self._notices = AlertNotices(gate.link, gate.prefix, clock)
        self._alerts = AlertStore(
            rows, entities, config.environment, self._twins, self._notices, clock
        )
        disk = directory.disk
        files = TwinFiles(directory.path, disk)
        written = TwinFileStore(opened.writer, opened.reader, opened.cipher)
        news = FileAlerts(self._alerts, parts.events.tell)
        self._files = FileSync(self._twins, files, written, clock, news)
        self.presence = PresenceRows(
            entities, config.environment, self._serves, clock, parts.host.chance
        )
        self._workflows = workflows = WorkflowFiles(
            rows, entities, opened.state, config.environment, self._twins.uuids,
            directory=directory.path / SCRIPTS, disk=disk, clock=clock,
            look_every=knobs_of(config.variables).workflow_interval,
        )  # fmt: skip
        self.commands = TwinCommands(
            gate.link, self._serves, lambda one: one in workflows.workflows, gate.prefix, clock
        )
        said = HeardHealth(gate.link, self.presence, clock)
        self._broker = BrokerAlerts(
            gate.broker, self._alerts, self._twins.uuids, self._twins.changed, clock
        )
        twins = Twins(
            directory,
            self._config_now,
            self._twins,
            files,
            self._files,
            self._alerts,
            workflows,
            said,
        )
        self.programs = Programs(parts, gate, twins)
        self.orders = TwinOrders(
            self.commands, self.programs.room.restart, workflows, self.programs.room
        )
        self._rest = RestSocket(gate.plan.run / "rest", rest_app(self._answers()))

    async def open(self) -> None:
        """Takes up what is in the store, and answers drivers from now on. Raises OSError, InvalidInput, Transient."""
        await self._twins.open()
        await self._alerts.open()
        await self.presence.open()
        await self.programs.open()
        await self._rest.start()

    def follow(self, loops: Loops) -> None:
        """Starts them."""
        loops.start(self._twins.follow, name="twins")
        loops.start(self._files.run, name="files of twins")
        loops.start(self._alerts.follow, name="alerts of twins")
        loops.start(self._broker.follow, name="alerts of the broker")
        loops.start(self._notices.run, name="notices of alerts")
        loops.start(self.presence.run, name="presence of drivers")
        self.programs.follow(loops)

    async def close(self) -> None:
        """Ends the answers."""
        await self._rest.stop()

    def written(self) -> list[Path]:
        """Its files in the configuration directory, also those of an agent before this one."""
        return [*self._files.written(), *self._workflows.written()]

    @property
    def faults(self) -> Sequence[str]:
        """What is wrong about the rows of these twins, for people."""
        return self._twins.faults

    @property
    def sources(self) -> Sequence[DeviceWorkloads]:
        """What runs here because of these twins."""
        return self.programs.sources

    def _config_now(self) -> DeviceConfig:
        """Another environment or fingerprint is for the next start."""
        held = self.config
        return msgspec.structs.replace(
            self._directory.config, environment=held.environment, fingerprint=held.fingerprint
        )

    def _serves(self, twin: str) -> bool:
        return self._twins.twin(twin) is not None

    def _answers(self) -> Sources:
        parts = self._parts
        return Sources(
            environment=self.config.environment,
            device=_device(self.config),
            tokens=self._gate.tokens,
            twins=self._twins,
            alerts=self._alerts,
            logs=parts.logs,
            driver_of=self.programs.driver_of,
            log_since=self.programs.log_owners.since,
            models_root=models_root(parts.settings.data_dir),
            signing=secrets.token_bytes(32),
            seen=Recent(
                RecordQuery(parts.records, parts.settings.name), parts.files, parts.host.clock
            ),
            clock=parts.host.clock,
        )


def _device(config: DeviceConfig) -> Device:
    return Device(config.fingerprint, platform.node(), f"{platform.system()}-{platform.machine()}")
