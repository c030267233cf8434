"""`skerry twin command|run-workflow|cancel-workflow|start-driver|restart-edge-core|sync-workflows|remove-worker`: what people have devices do about Cyberwave's twins. See docs/operate/devices.md."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
import typer

from skerry.cli.exits import FAILED
from skerry.cli.session import Session, remote
from skerry.kit.errors import InvalidInput
from skerry.kit.units import parse_duration
from skerry.wire.codec import decode, encode
from skerry.wire.devices import ENDED, SAID_TO_WORKERS, CommandView, EdgeAction, EdgeOrder

_LOOK_EVERY = 0.2

CommandTopic = Literal["command", "navigate", "motion", "mission"]
_ACTIONS: dict[CommandTopic, EdgeAction] = {
    "command": "twin_command",
    "navigate": "twin_navigate",
    "motion": "twin_motion",
    "mission": "twin_mission",
}

Workflow = Annotated[str, typer.Argument(help="The workflow's UUID.")]
Node = Annotated[str, typer.Argument(help="The device's name, or its id.")]
RequestId = Annotated[
    str, typer.Option(help="Given again with the same word, it is the same order.")
]
Ttl = Annotated[str, typer.Option(help="While the device is offline, for how long it stands.")]
Wait = Annotated[str, typer.Option(help="How long to wait here until it has ended; 0: not at all.")]


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Cyberwave's twins: commands to their drivers.", no_args_is_help=True)
    group.command("command")(command)
    group.command("run-workflow")(run_workflow)
    group.command("cancel-workflow")(cancel_workflow)
    group.command("start-driver")(start_driver)
    group.command("restart-edge-core")(restart_edge_core)
    group.command("sync-workflows")(sync_workflows)
    group.command("remove-worker")(remove_worker)
    app.add_typer(group, name="twin")


@remote
async def command(  # noqa: PLR0913, PLR0917 - one argument for each option
    session: Session,
    node: Node,
    twin: Annotated[str, typer.Argument(help="The twin's UUID.")],
    message: Annotated[str, typer.Argument(help='JSON: {"command": "start_video", "data": {}}.')],
    topic: Annotated[
        CommandTopic,
        typer.Option(help="Whose message it is: of the twin's own topic, or of one below it."),
    ] = "command",
    request_id: RequestId = "",
    ttl: Ttl = "1m",
    wait: Wait = "50s",
) -> None:
    """Have a twin's driver do something, once; its answer is printed. Ends with 1 unless it has done it."""
    payload = msgspec.Raw(encode(decode(message.encode(), dict[str, object], "the message")))
    order = EdgeOrder(_ACTIONS[topic], request_id, twin, payload)
    await _give(session, node, order, ttl, wait)


@remote
async def run_workflow(  # noqa: PLR0913, PLR0917 - one argument for each option
    session: Session,
    node: Node,
    workflow: Workflow,
    message: Annotated[
        str, typer.Argument(help='JSON: {"inputs": {}, "params": {}}, what the run is given.')
    ] = "{}",
    request_id: RequestId = "",
    ttl: Ttl = "1m",
    wait: Wait = "30s",
) -> None:
    """Have the worker of a workflow on a device run it now, once; the execution is printed."""
    given = decode(message.encode(), dict[str, object], "the message")
    order = _order("run_workflow", request_id, **given | {"workflow_uuid": workflow})
    await _give(session, node, order, ttl, wait)


@remote
async def cancel_workflow(  # noqa: PLR0913, PLR0917 - one argument for each option
    session: Session,
    node: Node,
    workflow: Workflow,
    execution: Annotated[
        str, typer.Argument(help="The execution, as run-workflow has printed it.")
    ],
    request_id: RequestId = "",
    ttl: Ttl = "1m",
    wait: Wait = "30s",
) -> None:
    """Have the worker of a workflow on a device cancel one of its runs."""
    order = _order("cancel_workflow", request_id, workflow_uuid=workflow, execution_uuid=execution)
    await _give(session, node, order, ttl, wait)


@remote
async def start_driver(
    session: Session,
    node: Node,
    twin: Annotated[str, typer.Argument(help="The twin's UUID.")],
    request_id: RequestId = "",
    ttl: Ttl = "1m",
    wait: Wait = "1m",
) -> None:
    """Have a device start a twin's driver that it has stopped because it ended by itself too often."""
    await _give(session, node, EdgeOrder("start_driver", request_id, twin), ttl, wait)


@remote
async def restart_edge_core(
    session: Session, node: Node, request_id: RequestId = "", ttl: Ttl = "1m", wait: Wait = "2m"
) -> None:
    """Have a device push what its twins have changed, then start all of their drivers and workers anew."""
    await _give(session, node, _order("restart_edge_core", request_id), ttl, wait)


@remote
async def sync_workflows(
    session: Session, node: Node, request_id: RequestId = "", ttl: Ttl = "1m", wait: Wait = "1m"
) -> None:
    """Have a device write the workers of its workflows now."""
    await _give(session, node, _order("sync_workflows", request_id), ttl, wait)


@remote
async def remove_worker(  # noqa: PLR0913, PLR0917 - one argument for each option
    session: Session,
    node: Node,
    files: Annotated[list[str] | None, typer.Argument(help="Such as wf_count.py.")] = None,
    workflow: Annotated[str, typer.Option(help="The UUID of the workflow.")] = "",
    request_id: RequestId = "",
    ttl: Ttl = "1m",
    wait: Wait = "1m",
) -> None:
    """Have a device remove workers that workflows were compiled to."""
    if not files and not workflow:
        raise InvalidInput("cannot remove workers: name their files, or --workflow")
    order = _order(
        "remove_workflow_worker", request_id, worker_filenames=files or [], workflow_uuid=workflow
    )
    await _give(session, node, order, ttl, wait)


def _order(action: EdgeAction, request: str, **message: object) -> EdgeOrder:
    return EdgeOrder(action, request, payload=msgspec.Raw(encode(message)))


async def _give(session: Session, node: str, order: EdgeOrder, ttl: str, wait: str) -> None:
    stands, patience = parse_duration(ttl), 0.0 if wait == "0" else parse_duration(wait)
    path = f"/api/devices/{quote(node, safe='')}/orders"
    async with session.hub() as hub:
        found = await hub.send("POST", f"{path}?ttl={stands}", order, CommandView)
        with (
            session.screen.notes.status(f"waiting for device «{node}», {wait} at most …"),
            contextlib.suppress(TimeoutError),
        ):
            async with asyncio.timeout(patience):
                while found.state not in ENDED:
                    await asyncio.sleep(_LOOK_EVERY)
                    found = await hub.get(f"{path}/{found.id}", CommandView)
    _show(session, node, found)
    if patience and found.state != "done":
        raise typer.Exit(FAILED)


def _show(session: Session, node: str, found: CommandView) -> None:
    words = f"{found.state}: {found.message}" if found.message else found.state
    if found.state not in ENDED:
        words += f"; what becomes of it: skerry device show {node}"
    if found.reply:
        words += f"; {'execution' if found.action in SAID_TO_WORKERS else 'the driver says'}: {found.reply}"
    facts = {
        "device": node, "order": found.action, "id": found.id, "state": found.state,
        "message": found.message, "reply": found.reply,
    }  # fmt: skip
    session.screen.tell(words, facts)
