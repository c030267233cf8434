"""A data bus of its own: the child that is the router, and programs of Cyberwave's SDK on it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.closing import Closes
from tests.cyberwave_sdk import FIXTURES, Sdk
from tests.gate_rig import free_port

from skerry.node.bus.router import child_command, command
from skerry.wire.data_bus import BusOrder

PATIENCE = 120.0
"""Seconds. The SDK's imports take five of one processor, which others want too."""


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for a condition that nothing announces."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, f"not in {PATIENCE} s: {what}"
        time.sleep(0.02)


class Program:
    """A program of the SDK; `heard` are the samples that it was given since they were last asked for."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._answers: queue.Queue[Any] = queue.Queue()
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._answers.get(timeout=PATIENCE)

    def ask(self, do: str, **words: object) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": do, **words}).encode() + b"\n")
        self.process.stdin.flush()
        return self._answers.get(timeout=PATIENCE)

    def hear(self) -> dict[str, Any]:
        """The next sample."""
        return self._heard.get(timeout=PATIENCE)

    def heard_within(self, seconds: float) -> list[dict[str, Any]]:
        """The next sample, if there is one by then."""
        with contextlib.suppress(queue.Empty):
            return [self._heard.get(timeout=seconds)]
        return []

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream and not stream.closed:
                stream.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            said = json.loads(line)
            if "heard" in said:
                self._heard.put(said["heard"])
            else:
                self._answers.put(said.get("answer"))


class BusRig(Closes):
    """Nothing runs until it is started. Names no twin that another test has."""

    def __init__(self, path: Path, sdk: Sdk) -> None:
        self.port = free_port()
        self.twin = str(uuid.uuid4())
        self.log = path / "router.log"
        self.router: subprocess.Popen[bytes] | None = None
        self._path = path
        self._sdk = sdk
        self._programs: list[Program] = []

    def key(self, channel: str) -> str:
        return f"cw/{self.twin}/data/{channel}"

    def start(self, order: BusOrder | None = None, **environment: str) -> None:
        """Returns when it listens, or has ended."""
        order = order or BusOrder(port=self.port)
        words = [sys.executable, *child_command(command(order))[1:]]
        with self.log.open("ab") as log:
            self.router = subprocess.Popen(words, env=os.environ | environment, stderr=log)
        until(lambda: b"skerry:" in self.log.read_bytes(), "the router says something")

    def end(self, number: int = signal.SIGTERM) -> int:
        """How it ended."""
        assert self.router
        self.router.send_signal(number)
        return self.router.wait(timeout=PATIENCE)

    def program(
        self,
        mode: str = "client",
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        **more: str,
    ) -> Program:
        """On the bus; a «client» speaks through the router only, a «peer» is introduced by it."""
        environment = {
            "CYBERWAVE_DATA_BACKEND": "zenoh",
            "ZENOH_MODE": mode,
            "ZENOH_CONNECT": f"tcp/{host}:{self.port}",
            "HOME": str(self._path),
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"ZENOH_LISTEN": "tcp/127.0.0.1:0"} if mode == "peer" else {}),
            **more,
        }
        words = [*prefix, *self._sdk.words(FIXTURES / "bus_peer.py")]
        program = Program(words, environment)
        self._programs.append(program)
        return program

    def close(self) -> None:
        """Nothing of it is left."""
        for program in self._programs:
            program.close()
        if self.router and self.router.poll() is None:
            self.end(signal.SIGKILL)
