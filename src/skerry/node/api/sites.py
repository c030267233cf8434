"""Where the local apps listen: the admin socket, one socket per workload, the read-only loopback port.

The path of a workload's socket is its identity: whoever was given the socket speaks for that workload, and for
no other. Sockets have mode 0600 in a directory 0700; those that containers are given may be used by any user who gets
as far, and only the agent's gets into the directory above.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
from pathlib import Path

import msgspec

from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.reception import RequestLimits
from skerry.kit.socket_path import checked_socket_path
from skerry.node.api import web
from skerry.node.api.connections import Listener
from skerry.node.ports import container_socket, workload_socket

log = logging.getLogger(__name__)

LIMITS = RequestLimits(connections=64)
"""Of each socket and of the port: many times what one workload, person or monitoring script needs."""

_OWN = 0o600
_ANYBODYS = 0o666

_SHUTDOWN_SECONDS = 1.0


class Apps(msgspec.Struct, frozen=True):
    """What is served: to the person at the device, to each workload, to monitoring scripts."""

    admin: web.Application
    workload: web.Application
    public: web.Application


class _Door:
    """A socket that listens, and the file by which it is found."""

    def __init__(
        self, runner: web.AppRunner, path: Path, mode: int, listening: asyncio.Server
    ) -> None:
        self.runner = runner
        self.path = path
        self.mode = mode
        self.listening = listening
        self._file = _file_at(path)

    @property
    def is_lost(self) -> bool:
        """Whether its path leads elsewhere by now: somebody has removed the file."""
        return _file_at(self.path) != self._file


class LocalApi:
    """Starts and stops the listeners of a node. `others`: a directory with one more admin socket, for users who have a role."""

    def __init__(
        self, run_dir: Path, limits: RequestLimits = LIMITS, *, others: Path | None = None
    ) -> None:
        self._others = others
        self._run_dir = run_dir
        self._limits = limits
        self._runners: list[web.AppRunner] = []
        self._workload: web.AppRunner | None = None
        self._port: asyncio.Server | None = None
        self._admin: list[_Door] = []
        self._of_workloads: dict[Path, _Door] = {}
        self.public_port: int | None = None

    async def start(self, apps: Apps, public_port: int) -> None:
        """Opens the admin socket and the read-only port (0: none; taken: a warning, sockets only)."""
        admin, workload, public = map(_runner, (apps.admin, apps.workload, apps.public))
        self._runners = [workload, public, admin]
        for runner in self._runners:
            await runner.setup()
        self._workload = workload
        self._admin = [await self._listen(admin, admin_socket(self._run_dir), _OWN)]
        if self._others is not None:
            self._admin.append(await self._listen_to_others(admin, self._others))
        if public_port == 0:
            return
        factory = Listener(_server(public), self._limits).factory
        try:
            port = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", public_port)
        except OSError as error:
            log.warning(
                "cannot listen on 127.0.0.1:%d: %s. Going on without the read-only port; set api.port for another one",
                public_port,
                error.strerror,
            )
            return
        self._port = port
        self.public_port = public_port

    async def serve_workloads(self, processes: set[str], containers: set[str]) -> None:
        """Opens a socket for each workload and closes those that are gone. `start` comes first."""
        assert self._workload is not None  # noqa: S101 - see the docstring
        wanted = {workload_socket(self._run_dir, name): _OWN for name in processes}
        wanted |= {container_socket(self._run_dir, name): _ANYBODYS for name in containers}
        for path in sorted(wanted.keys() - self._of_workloads.keys()):
            try:
                self._of_workloads[path] = await self._listen(
                    self._workload, checked_socket_path(path), wanted[path]
                )
            except (InvalidInput, OSError) as error:  # the other workloads get theirs
                name = path.parent.name
                log.warning("cannot open the socket of workload «%s»: %s", name, error)
        for path in self._of_workloads.keys() - wanted.keys():
            self._of_workloads.pop(path).listening.close()
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # what else is in there is not ours
                path.parent.rmdir()

    async def mend(self) -> None:
        """Opens every socket again whose file was removed. Raises OSError when that is not possible now."""
        for door in [door for door in self._doors() if door.is_lost]:
            log.warning("the socket %s is gone: opening it again", door.path)
            door.listening.close()
            again = await self._listen(door.runner, door.path, door.mode)
            if door in self._admin:
                self._admin[self._admin.index(door)] = again
            else:
                self._of_workloads[door.path] = again

    def _doors(self) -> list[_Door]:
        return [*self._of_workloads.values(), *self._admin]

    async def stop(self) -> None:
        """Closes every listener and connection."""
        for door in self._doors():
            door.listening.close()
        if self._port is not None:
            self._port.close()
        self._of_workloads.clear()
        for runner in self._runners:
            await runner.cleanup()

    async def _listen_to_others(self, admin: web.AppRunner, directory: Path) -> _Door:
        """Anybody may connect: who may do what, the guard of the admin socket decides by who connects. Raises Refused."""
        run = directory / "run"
        for each in (directory, run):
            each.mkdir(mode=0o755, parents=True, exist_ok=True)
            found = each.lstat()
            if (
                not stat.S_ISDIR(found.st_mode)
                or found.st_uid not in {0, os.geteuid()}
                or found.st_mode & 0o022
            ):
                raise Refused(
                    f"cannot open the admin socket in {directory}: somebody else may put another one in its place. It and "
                    "what it contains must be the node's own (access.local.directory)."
                )
            if found.st_uid == os.geteuid():
                each.chmod(0o755)
        return await self._listen(admin, checked_socket_path(admin_socket(run)), _ANYBODYS)

    async def _listen(self, runner: web.AppRunner, path: Path, mode: int) -> _Door:
        for directory in (
            path.parent.parent,
            path.parent,
        ):  # `parents` would not give them the mode
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What is there is of an agent that was killed: the store's lock says that no other one runs.
        path.unlink(missing_ok=True)
        factory = Listener(_server(runner), self._limits).factory
        listening = await asyncio.get_running_loop().create_unix_server(factory, path)
        path.chmod(mode)
        if mode == _ANYBODYS:
            path.parent.chmod(0o711)
        # A strict workload has a user of its own, whose group its directory was given to. The directory itself stays
        # ours, or a link in the socket's place would make us give something else away.
        group = path.parent.stat().st_gid
        if group != os.getegid():
            os.chown(path, group, group, follow_symlinks=False)
        return _Door(runner, path, mode, listening)


def _file_at(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def admin_socket(run_dir: Path) -> Path:
    """The socket for `skerry node …` and `skerry doctor`."""
    return run_dir / "admin.sock"


def _runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(app, shutdown_timeout=_SHUTDOWN_SECONDS, handler_cancellation=True)


def _server(runner: web.AppRunner) -> web.Server:
    assert runner.server is not None  # noqa: S101 - it was set up
    return runner.server
