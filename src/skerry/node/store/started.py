"""What runs, told beside the database: the assignment of each workload, in a file of its own.

The keeper and the engine know which instances live; what these were made from only the database knew. With these
files a database that is lost, with no backup and no hub, loses neither what is wanted nor who runs: the instances are
adopted. Written when an assignment is another one, not at restarts; sealed as the database's bodies are.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path

from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, InvalidInput
from skerry.kit.sealing.cipher import Cipher, Place
from skerry.wire.codec import decode, encode
from skerry.wire.workload import Assignment

DIRECTORY = "started"

log = logging.getLogger(__name__)


class Started:
    """The files in `data_dir`/started. `note` and `forget` are called by the database's writer, which blocks anyway.

    A rotation seals them again in a thread of its own, so each file is read and written under one lock.
    """

    def __init__(self, data_dir: Path, disk: Disk, cipher: Cipher) -> None:
        self._directory = data_dir / DIRECTORY
        self._disk = disk
        self._cipher = cipher
        self._noted: dict[str, Assignment] = {}
        self._changing = threading.Lock()

    def note(self, assignment: Assignment) -> None:
        """Keeps it if it is news. A full disk is only logged: this is the second place where it stands."""
        name = assignment.workload
        if self._noted.get(name) == assignment:
            return
        try:
            with self._changing:
                self._keep(assignment)
        except OSError as error:
            log.warning("cannot note beside the database what workload «%s» is: %s", name, error)
            return
        self._noted[name] = assignment

    def forget(self, workload: str) -> None:
        """The workload is not here any more."""
        self._noted.pop(workload, None)
        try:
            with self._changing:
                self._disk.unlink("started.forget", self._directory / workload)
        except OSError as error:
            log.warning("cannot forget what workload «%s» was: %s", workload, error)

    def all(self) -> dict[str, Assignment]:
        """Those that can be read, by workload."""
        found = {path.name: self._read(path) for path in self._paths()}
        return {name: assignment for name, assignment in found.items() if assignment is not None}

    def seal_again(self, cipher: Cipher) -> bool:
        """Seals all of them under the key in force. False: they are already. Raises OSError."""
        done = False
        for path in self._paths():
            with self._changing, contextlib.suppress(FileNotFoundError):  # forgotten meanwhile
                done = self._seal_again(path, cipher) or done
        return done

    def _keep(self, assignment: Assignment) -> None:
        path = self._directory / assignment.workload
        self._disk.make_directory("started.directory", self._directory)
        if self._read(path) != assignment or not self._cipher.is_current(path.read_bytes()):
            data = self._cipher.seal(encode(assignment), _place(assignment.workload))
            self._disk.write_atomic("started.write", path, data)

    def _seal_again(self, path: Path, cipher: Cipher) -> bool:
        data, place = path.read_bytes(), _place(path.name)
        if not cipher.seals or cipher.is_current(data):
            return False
        try:
            plain = cipher.open(data, place)
        except Corrupt:
            self._disk.unlink("started.drop", path)  # nobody can ever read it
        else:
            self._disk.write_atomic("started.write", path, cipher.seal(plain, place))
        return True

    def _paths(self) -> list[Path]:
        if not self._directory.is_dir():
            return []
        return sorted(path for path in self._directory.iterdir() if path.suffix != ".new")

    def _read(self, path: Path) -> Assignment | None:
        try:
            plain = self._cipher.open(path.read_bytes(), _place(path.name))
            return decode(plain, Assignment, f"assignment «{path.name}»")
        except FileNotFoundError:
            return None
        except (OSError, Corrupt, InvalidInput) as error:
            log.warning("cannot read what workload «%s» was started from: %s", path.name, error)
            return None


def _place(workload: str) -> Place:
    return Place("started", "assignment", (workload,))
