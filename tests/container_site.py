"""Container workloads on a node with an engine of the tests: ways to write them, and to look at them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.engines import IMAGE, TestEngine, ask
from tests.installation import Node

from skerry.wire.workload import ContainerSpec, Stop, WorkloadSpec, WorkloadStatus

PYTHON_ENV = ["LD_LIBRARY_PATH=/usr/lib/host", "PYTHONHOME=/usr", "PATH=/usr/bin"]
"""What `engines.image_archive` needs in order to run."""

WAITS = (
    "python3",
    "-c",
    "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(0))\nprint('up', flush=True)\nsignal.pause()",
)


def box(name: str, *command: str, **fields: object) -> WorkloadSpec:
    """A container workload; `fields` are those of WorkloadSpec, `container` replaces its section."""
    inside = ContainerSpec(image=IMAGE, command=list(command), network="host")
    known: dict[str, object] = {"container": inside, "stop": Stop(grace=1.0)}
    return WorkloadSpec(name=name, runtime="container", **known | fields)  # type: ignore[arg-type]


def of_image(image: str, *command: str, **fields: object) -> ContainerSpec:
    """A container's section; without a command it waits."""
    known: dict[str, object] = {"network": "host", "command": list(command or WAITS)}
    return ContainerSpec(image=image, **known | fields)  # type: ignore[arg-type]


def with_engine(node: Node, engine: TestEngine) -> Node:
    """The node, told where its engine is."""
    node.options += ["--set", f"containers.socket={engine.socket}"]
    return node


async def state(node: Node, workload: str) -> WorkloadStatus | None:
    """One workload's status."""
    status = await node.status()
    found = [one for one in status.workloads if one.workload == workload] if status else []
    return found[0] if found else None


async def says(node: Node, workload: str, words: str) -> bool:
    """Whether its message or exit holds these words."""
    found = await state(node, workload)
    return found is not None and words in f"{found.message} {found.exit}"


async def another(node: Node, workload: str, pid: int) -> bool:
    """Whether it runs, and not as this process."""
    found = await state(node, workload)
    return found is not None and found.phase == "running" and found.pid != pid


def container(engine: TestEngine, name: str) -> Mapping[str, Any]:
    """As the engine shows it."""
    status, answer = ask(engine.socket, "GET", f"/v1.40/containers/{name}/json")
    assert status == 200, answer
    return dict(json.loads(answer))


def gone(engine: TestEngine, left: int = 0) -> bool:
    """Whether the engine has no more than these containers."""
    return len(json.loads(ask(engine.socket, "GET", "/v1.40/containers/json?all=1")[1])) == left


def log_of(node: Node, workload: str) -> str:
    """What is in its log."""
    path = node.directory / "logs" / workload / "current.log"
    return path.read_text() if path.exists() else ""


def remove_image(engine: TestEngine, image: str) -> None:
    """It is gone, whoever uses it."""
    ask(engine.socket, "DELETE", f"/v1.40/images/{image}?force=1")
