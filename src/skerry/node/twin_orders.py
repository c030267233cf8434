"""The hub's orders about twins, drivers and workers, handed to what carries them out (`twin_ports.EdgeOrders`)."""

from __future__ import annotations

import msgspec

from skerry.kit.errors import Refused
from skerry.node.twin_ports import DriverStarts, EdgeRestart, Told, Workflows
from skerry.node.twins.commanding import TwinCommands
from skerry.wire.codec import decode
from skerry.wire.devices import SAID_TO_DRIVERS, SAID_TO_WORKERS, Command

_SAID = SAID_TO_DRIVERS | SAID_TO_WORKERS


class _Restart(msgspec.Struct, frozen=True):
    """`restart_edge_core` as it is documented."""

    alert_uuid: str = ""


class _Removal(msgspec.Struct, frozen=True):
    """`remove_workflow_worker` as it is documented."""

    worker_filenames: list[str] = []
    workflow_uuid: str = ""


class TwinOrders:
    """What is None, this device does not do."""

    def __init__(
        self,
        commands: TwinCommands | None,
        restart: EdgeRestart | None,
        workflows: Workflows | None,
        drivers: DriverStarts | None = None,
    ) -> None:
        self._commands = commands
        self._restart = restart
        self._workflows = workflows
        self._drivers = drivers

    async def do(self, order: Command) -> Told:
        """As `EdgeOrders`."""
        match order.action:
            case action if action in _SAID and self._commands is not None:
                return await self._commands.give(order)
            case "start_driver" if self._drivers is not None:
                return Told(await self._drivers.start_driver(order.twin))
            case "restart_edge_core" if self._restart is not None:
                asked = decode(bytes(order.payload), _Restart, "an order to restart drivers")
                request = order.request or order.id
                return Told(await self._restart.restart_edge_core(request, asked.alert_uuid))
            case "sync_workflows" if self._workflows is not None:
                return Told(await self._workflows.sync_workflows())
            case "remove_workflow_worker" if self._workflows is not None:
                gone = decode(bytes(order.payload), _Removal, "an order to remove workers")
                return Told(
                    await self._workflows.remove_workflow_worker(
                        gone.worker_filenames, gone.workflow_uuid
                    )
                )
            case _:
                raise Refused(
                    f"cannot do «{order.action}»: this device has no environment of Cyberwave's, or nothing of the kind"
                )
