"""Makes containers: finds out what must be known first (the image's user, GPUs), then asks the engine for one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from skerry.kit.disk import Disk
from skerry.kit.errors import Refused, Transient
from skerry.node.ports import ContainerLaunch
from skerry.node.workloads.runtimes.containers.creation import (
    Findings,
    container_name,
    creation,
)
from skerry.node.workloads.runtimes.containers.devices import Devices
from skerry.node.workloads.runtimes.containers.engine import Engine, EngineRefusal
from skerry.node.workloads.runtimes.containers.gpus import gpu_request
from skerry.node.workloads.runtimes.containers.seccomp import MACHINES, profile_for
from skerry.node.workloads.runtimes.containers.strict import exposed


class Maker:
    """`owner` marks this node's containers. `private` is what no strict container may be shown.

    `profile` is the file in which Podman finds what strict containers may ask of the kernel.
    """

    def __init__(
        self,
        engine: Engine,
        owner: str,
        devices: Devices,
        private: Sequence[Path],
        profile: Path,
        disk: Disk,
    ) -> None:
        self.owner = owner
        self.devices = devices
        self._engine = engine
        self._private = private
        self._profile = profile
        self._disk = disk

    async def make(self, launch: ContainerLaunch) -> str:
        """The id of the launch's container, which an agent that died in between may have made already.

        Raises Refused or NeedGone (nothing is left behind), EngineRefusal, EngineGone, Transient.
        """
        body = creation(self.owner, launch, await self._find(launch))
        name = container_name(launch)
        try:
            return await self._engine.create(name, body)
        except EngineRefusal as refusal:
            found = await self._engine.inspect(name) if refusal.status == 409 else None
            if found is None:
                raise
            return found.id

    async def _find(self, launch: ContainerLaunch) -> Findings:
        spec, user, seccomp = launch.spec, "", ""
        if launch.strict:
            self._check_volumes(spec.volumes)
            user = await self._engine.image_user(spec.image) if spec.user is None else ""
            seccomp = await self._seccomp()
        gpus = None if spec.gpus is None else gpu_request(await self._engine.info(), spec.gpus)
        usb = self.devices.hand(launch.instance, spec.devices)
        return Findings(user, gpus, usb, self.devices.handed(launch.instance), seccomp)

    async def _seccomp(self) -> str:
        """The profile of a strict container: Docker takes its text, Podman the path of a file with it."""
        version = await self._engine.version()
        if version.arch not in MACHINES:
            return ""
        text = json.dumps(profile_for(version.arch))
        if not version.is_podman:
            return text
        try:
            if not self._profile.exists() or self._profile.read_text() != text:
                self._disk.write_atomic("containers.seccomp", self._profile, text.encode())
        except OSError as error:
            raise Transient(f"cannot write {self._profile}: {error.strerror}") from error
        return str(self._profile)

    def _check_volumes(self, volumes: Sequence[str]) -> None:
        source = exposed(volumes, [*self._private, self._engine.socket])
        if source is not None:
            raise Refused(
                f"isolation «strict» gives no container {source}: the node's own directory or the engine's "
                "socket is there. Name a directory of its own"
            )
