"""Peers that run containers: the engines' own restart policies, and docker-compose. All of the bench's own image."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from tests.engines import TestEngine, ask, import_image

IMAGE = "localhost/skerry-bench-stamp:latest"


def load_image(engine: TestEngine, stamp: Path) -> None:
    """An image of one static program."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(stamp, "stamp")
    import_image(engine.socket, IMAGE, buffer.getvalue())


def run_restarting(engine: TestEngine, files: Sequence[Path]) -> None:
    """One container for each file, which the engine itself restarts, whatever ends it."""
    for file in files:
        body = {
            "Image": IMAGE,
            "Cmd": ["/stamp", str(file)],
            "HostConfig": {
                "NetworkMode": "host",
                "Binds": [f"{file.parent}:{file.parent}"],
                "RestartPolicy": {"Name": "always"},
            },
        }
        target = f"/v1.40/containers/create?name=peer-{file.name}"
        status, answer = ask(engine.socket, "POST", target, json.dumps(body).encode())
        assert status == 201, answer
        status, answer = ask(engine.socket, "POST", f"/v1.40/containers/peer-{file.name}/start")
        assert status < 300, answer


def first_process(engine: TestEngine, container: str) -> int:
    """The pid, as the machine has it, of a container's first process."""
    answer = ask(engine.socket, "GET", f"/v1.40/containers/{container}/json")[1]
    return int(json.loads(answer)["State"]["Pid"])


def compose_up(engine: TestEngine, work: Path, files: Sequence[Path], word: str) -> None:
    """`docker-compose up -d` of one service for each file; another `word` changes all of them."""
    services = {
        file.name: {
            "image": IMAGE,
            "command": ["/stamp", str(file)],
            "network_mode": "host",
            "environment": {"WORD": word},
            "volumes": [f"{file.parent}:{file.parent}"],
        }
        for file in files
    }
    work.mkdir(parents=True, exist_ok=True)
    (work / "docker-compose.yml").write_text(json.dumps({"version": "3", "services": services}))
    _compose(engine, work, "up", "-d")


def compose_down(engine: TestEngine, work: Path) -> None:
    """Removes them."""
    _compose(engine, work, "kill")
    _compose(engine, work, "down")


def _compose(engine: TestEngine, work: Path, *words: str) -> None:
    environment = dict(os.environ, DOCKER_HOST=f"unix://{engine.socket}")
    argv = ["docker-compose", "-p", "peer", *words]
    done = subprocess.run(argv, cwd=work, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
