"""A disk that fails, or kills its process, at exactly one labelled operation."""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from pathlib import Path

from skerry.kit.disk import RealDisk


class FaultyDisk(RealDisk):
    """Does real I/O and raises OSError at the `fail_at`-th operation (1, 2, …), once or from then on."""

    def __init__(
        self, fail_at: int = 0, *, persistent: bool = False, code: int = errno.EIO
    ) -> None:
        self.operations = 0
        self.labels: Counter[str] = Counter()
        self._fail_at = fail_at
        self._persistent = persistent
        self._code = code

    def fail_after(self, operations: int) -> None:
        """The operation of that number, counted from now, fails."""
        self._fail_at = self.operations + operations

    def heal(self) -> None:
        """No further failures."""
        self._fail_at = 0

    def _step(self, label: str) -> None:
        self.operations += 1
        self.labels[label] += 1
        due = self.operations == self._fail_at or (
            self._persistent and 0 < self._fail_at < self.operations
        )
        if due:
            self.fail(label)

    def fail(self, label: str) -> None:
        """What happens at the chosen operation."""
        raise OSError(self._code, f"{os.strerror(self._code)} (injected at «{label}»)")

    def open_append(self, label: str, path: Path) -> int:
        self._step(label)
        return super().open_append(label, path)

    def append(self, label: str, fd: int, data: bytes) -> None:
        self._step(label)
        super().append(label, fd, data)

    def sync(self, label: str, fd: int) -> None:
        self._step(label)
        super().sync(label, fd)

    def truncate(self, label: str, path: Path, size: int) -> None:
        self._step(label)
        super().truncate(label, path, size)

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        self._step(label)
        super().write_atomic(label, path, data, mode)

    def rewrite(self, label: str, path: Path, text: bytes, most: int) -> None:
        self._step(label)
        super().rewrite(label, path, text, most)

    def rename(self, label: str, path: Path, target: Path) -> None:
        self._step(label)
        super().rename(label, path, target)

    def swap(self, label: str, path: Path, target: Path) -> None:
        self._step(label)
        super().swap(label, path, target)

    def make_directory(self, label: str, path: Path, mode: int = 0o700) -> None:
        if not path.is_dir():
            self._step(label)
        super().make_directory(label, path, mode)

    def unlink(self, label: str, path: Path) -> None:
        self._step(label)
        super().unlink(label, path)

    def sync_directory(self, label: str, path: Path) -> None:
        self._step(label)
        super().sync_directory(label, path)

    def point(self, label: str) -> None:
        self._step(label)


class KillingDisk(FaultyDisk):
    """SIGKILLs its own process at the `nth` operation whose label is `label`."""

    def __init__(self, label: str, nth: int) -> None:
        super().__init__()
        self._label = label
        self._nth = nth

    def _step(self, label: str) -> None:
        super()._step(label)
        if label == self._label and self.labels[label] == self._nth:
            os.kill(os.getpid(), signal.SIGKILL)
