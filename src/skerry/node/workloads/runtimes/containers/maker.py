"""Makes containers: finds out what must be known first (the image's user, GPUs), then asks the engine for one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skerry.kit.disk import Disk
from skerry.kit.errors import Refused, Transient
from skerry.node.ports import ContainerLaunch
from skerry.node.workloads.runtimes.containers.answers import Container
from skerry.node.workloads.runtimes.containers.creation import (
    INSTANCE,
    OWNER,
    Findings,
    container_name,
    creation,
)
from skerry.node.workloads.runtimes.containers.devices import Devices
from skerry.node.workloads.runtimes.containers.engine import Engine, EngineRefusal
from skerry.node.workloads.runtimes.containers.extras import check_extras, sources
from skerry.node.workloads.runtimes.containers.gpus import gpu_request
from skerry.node.workloads.runtimes.containers.held import ENDED
from skerry.node.workloads.runtimes.containers.seccomp import MACHINES, profile_for
from skerry.node.workloads.runtimes.containers.strict import exposed

log = logging.getLogger(__name__)

_TRIES = 5
"""To make a container: a name may be freed, and one more may be needed."""

_TAKEN = "already in use"
_NO_INIT = "container-init binary not found"
"""Podman's, which answers both with 500."""


def _without_init(body: Mapping[str, Any]) -> dict[str, object]:
    log.warning(
        "Podman has no init for containers here, so nobody reaps what their programs leave behind: install catatonit"
    )
    return {**body, "HostConfig": {**body["HostConfig"], "Init": False}}


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
        check_extras(launch.extras, strict=launch.strict)
        body = creation(self.owner, launch, await self._find(launch))
        names = [container_name(launch)]
        if launch.extras.otherwise:
            names.append(launch.extras.otherwise)
        for _ in range(_TRIES):
            try:
                return await self._engine.create(names[0], body)
            except EngineRefusal as refusal:
                words = str(refusal)
                if not (_TAKEN in words or _NO_INIT in words):
                    raise
            if _NO_INIT in words:
                body = _without_init(body)
                continue
            found = await self._engine.inspect(names[0])
            if found is not None and self._is_of(found, launch.instance):
                return found.id
            if found is not None and await self._is_given_up(found, names):
                del names[0]
        raise Transient(f"the container name «{names[0]}» is taken again and again")

    def _is_of(self, found: Container, instance: str) -> bool:
        labels = found.config.labels or {}
        return labels.get(OWNER) == self.owner and labels.get(INSTANCE) == instance

    async def _is_given_up(self, found: Container, names: Sequence[str]) -> bool:
        """Whether somebody else's container has the first name, and there is another; from one of ours it is freed.

        An ended one stays under another name, until its exit is acknowledged. Raises Refused, Transient.
        """
        name, labels, status = names[0], found.config.labels or {}, found.state.status
        if labels.get(OWNER) != self.owner:
            whose = f"container {found.id[:12]} of somebody else has the name «{name}»"
            if len(names) == 1:
                raise Refused(f"{whose}. Rename or remove it («docker rename», «docker rm»)")
            log.warning("%s; «%s» is used", whose, names[1])
            return True
        if status == "created":  # by a start that nobody remembers
            await self._engine.remove(found.id)
        elif status in ENDED or status == "stopped":  # Podman's, until it has cleaned up
            await self._engine.rename(found.id, f"{name}-{labels.get(INSTANCE, found.id)}")
        else:
            raise Transient(f"the container «{name}» of its predecessor has not ended yet")
        return False

    async def _find(self, launch: ContainerLaunch) -> Findings:
        spec, user, seccomp = launch.spec, "", ""
        if launch.strict:
            self._check_volumes([*spec.volumes, *sources(launch.extras)])
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
