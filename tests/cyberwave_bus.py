"""Workers and a camera on Cyberwave's SDK, and the data bus between them, with no node around them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.cyberwave_sdk import FIXTURES, PYTHON
from tests.gate_rig import MOSQUITTO
from tests.ports import free_port

_PATIENCE = 120.0


class DataBus:
    """What its programs have in common: a directory, a twin, an environment, a broker (or the SDK waits 30 s for one)."""

    def __init__(self, directory: Path, backend: str, **variables: str) -> None:
        self.directory = directory
        self.environment = {
            "CYBERWAVE_API_KEY": "cw_of_a_test",
            "CYBERWAVE_BASE_URL": "http://127.0.0.1:9",
            "CYBERWAVE_MQTT_HOST": "127.0.0.1",
            "CYBERWAVE_MQTT_PORT": str(free_port()),
            "CYBERWAVE_TWIN_UUID": str(uuid.uuid4()),
            "CYBERWAVE_DATA_BACKEND": backend,
            "CYBERWAVE_DATA_DIR": str(directory / "data"),
            "CYBERWAVE_WORKER_STATUS_PATH": str(directory / "status.json"),
            "HOME": str(directory),
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }

    @contextlib.contextmanager
    def workers(self, scripts: Path = FIXTURES / "workers") -> Iterator[Path]:
        """`python -m cyberwave.workers.main` from its being ready on; gives its log."""
        log, port = self.directory / "worker.log", self.environment["CYBERWAVE_MQTT_PORT"]
        conf = self.directory / "mosquitto.conf"
        conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        words = [PYTHON, "-m", "cyberwave.workers.main"]
        with (
            self._running(self.directory / "broker.log", [MOSQUITTO, "-c", conf]),
            self._running(log, words, CYBERWAVE_WORKERS_DIR=str(scripts)) as process,
        ):
            self._wait(lambda: self._phase() == "ready" and process.poll() is None, log)
            yield log

    def film(
        self, frames: int, heard: Callable[[int], bool], between: float = 0
    ) -> Mapping[str, Any]:
        """A camera's whole life; it ends once so many frames were `heard` by the workers.

        Without seconds between them each frame comes when the one before was heard.
        """
        log = self.directory / "camera.log"
        words = [PYTHON, FIXTURES / "camera.py", str(frames), str(between)]
        with self._running(log, words) as process:
            assert process.stdin
            if not between:
                for n in range(frames):
                    self._wait(functools.partial(heard, n + 1), log)
                    process.stdin.write(b"\n")
                    process.stdin.flush()
            self._wait(lambda: heard(frames) and "copied" in log.read_text(), log)
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.wait(timeout=_PATIENCE)
        told: Mapping[str, Any] = lines_of(log)[-1]
        return told

    def _phase(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            phase: str = json.loads((self.directory / "status.json").read_text())["phase"]
            return phase
        return ""

    @contextlib.contextmanager
    def _running(
        self, log: Path, words: list[str | Path], **more: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        with log.open("wb") as file:
            process = subprocess.Popen(
                words,
                env=self.environment | more,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=_PATIENCE)
            assert process.stdin
            process.stdin.close()

    def _wait(self, condition: Any, log: Path) -> None:
        give_up = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.02)


def lines_of(log: Path) -> list[Any]:
    """The JSON lines in it."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def hooks(log: Path, hook: str) -> list[Any]:
    """What one hook was given."""
    return [line for line in lines_of(log) if line.get("hook") == hook]
