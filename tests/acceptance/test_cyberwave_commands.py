"""People at the hub command a driver on the unmodified SDK: it does so once, and its answer comes back."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.cyberwave_sdk import FIXTURES, Sdk
from tests.cyberwave_site import SLOW, cyberwave_site, native
from tests.installation import installation

from skerry.node.drivers.workflows import workflows_of
from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(240)


async def test_a_driver_obeys_once_and_answers(short_dir: Path, cyberwave_sdk: Sdk) -> None:
    """Also on a device whose topics begin otherwise."""
    async with cyberwave_site(short_dir) as site:
        site.variables |= {"CYBERWAVE_TOPIC_PREFIX": "lab/", "CYBERWAVE_ENVIRONMENT": "Dev"}
        site.sign_in()
        [twin] = await site.join(native(*cyberwave_sdk.words(FIXTURES / "driver.py")))
        site.sign_in()
        driver = site.driver(twin)
        await site.tells(driver, active=twin)
        await site.tells(driver, pong="pong")
        skerry = CommandLine(site.site)
        message = json.dumps({"command": "wiggle", "data": {"times": 2}})
        words = ("twin", "command", site.node.name, twin, message, "--request-id", "w1")
        for _ in range(2):
            ended = await skerry.run(*words, "-o", "json")
            assert ended.code == 0, ended.err
            told = json.loads(ended.out)
            assert (told["state"], told["message"]) == ("done", "accepted")
            reply = json.loads(told["reply"])
            assert {
                "contract": "twin.command_response.v1", "status": "accepted", "command": "wiggle", "twin_uuid": twin,
            }.items() <= reply.items()  # fmt: skip
        await site.tells(driver, command="wiggle", data={"times": 2})
        assert site.count(driver, command="wiggle", data={"times": 2}) == 1
        await eventually(lambda: site.has(twin, 1), "the hub has its events by the usual name", 60)

        words = ("twin", "command", site.node.name, twin, '{"goal": [1, 2]}', "--topic", "navigate")
        ended = await skerry.run(*words, "-o", "json")
        told = json.loads(ended.out)
        assert (ended.code, told["message"]) == (0, "running"), told
        assert json.loads(told["reply"])["action_id"] == told["id"]
        await site.tells(driver, goal=[1, 2])
        assert site.count(driver, goal=[1, 2]) == 1

        ended = await skerry.run("twin", "run-workflow", site.node.name, str(uuid.uuid4()))
        assert ended.code == 1
        assert "none of this device's environment and twins" in ended.out

        ended = await skerry.run("twin", "command", site.node.name, str(uuid.uuid4()), message)
        assert ended.code == 1
        assert "not linked to this device" in ended.out

        shown = (await skerry.run("get", "workloads")).out
        assert f"{driver} (device)" in shown
        assert "cyberwave-gate" not in shown
        twins = (await skerry.run("get", "twins")).out
        assert re.search(rf"arm +{twin} +{site.node.name} +online", twins), twins
        elsewhere = ("--data-dir", str(short_dir / "no-node-here"))
        printed = await skerry.run("logs", driver, *elsewhere)
        assert '"command": "wiggle"' in printed.out, printed.err
        assert "twins     know it as " in (await skerry.run("device", "show", site.node.name)).out


WORKFLOW = """
import json, os
from cyberwave.workers.workflow_context import EdgeWorkflowContext, WorkflowCanceled

WORKFLOW, TWIN = "UUID", os.environ["CYBERWAVE_TWIN_UUID"]

@cw.on_manual_trigger(TWIN, workflow_uuid=WORKFLOW)
def run(payload, topic, ctx):
    execution, params = payload["execution_uuid"], payload["params"]
    print(json.dumps({"runs": execution, "inputs": payload["inputs"]}), flush=True)
    reporter = cw.workflow_executions.start(workflow_uuid=WORKFLOW, execution_uuid=execution, source_type="edge")
    context = EdgeWorkflowContext(cw, execution, params=params, reporter=reporter)
    try:
        for step in range(params["steps"]):
            context.step(f"{step:08d}-0000-4000-8000-000000000000", lambda: {"output_data": [step]})
            context.sleep("pause", 0.1)
    except WorkflowCanceled:
        reporter.finished(status="canceled")
    else:
        reporter.finished(status="success")

@cw.on_workflow_cancel(TWIN, workflow_uuid=WORKFLOW)
def cancel(payload, topic, ctx):
    cw.workflow_executions.mark_canceled(payload["execution_uuid"])
"""
"""As workflows are compiled, in their main lines."""


async def test_the_worker_of_a_workflow_runs_it_once_and_is_canceled(
    short_dir: Path, cyberwave_sdk: Sdk
) -> None:
    """On the SDK's own worker runtime; its file comes from the workflow's row, what it reports is at the hub."""
    async with cyberwave_site(short_dir) as site:
        site.work_natively(cyberwave_sdk.words("-m", "cyberwave.workers.main"))
        site.sign_in()
        [twin] = await site.join({})
        workflow, skerry = str(uuid.uuid4()), CommandLine(site.site)
        source = WORKFLOW.replace("UUID", workflow, 1)
        row = {"twin_uuid": twin, "worker_filename": "wf_a.py", "worker_source": source}
        await site.put(workflows_of(site.environment), workflow, row)

        async def told(*words: str) -> str:
            ended = await skerry.run("twin", *words, "-o", "json")
            found = json.loads(ended.out)
            assert (ended.code, found["message"]) == (0, "its worker was told"), found
            return str(json.loads(found["reply"])["execution_uuid"])

        async def finished(execution: str) -> list[str]:
            name = f"cyberwave/workflow/{workflow}/execution/{execution}/finished"
            return [
                json.loads(str(each.value))["status"] for each in await site.site.hub.rows(name)
            ]

        async def comes(execution: str, status: str) -> None:
            async def there() -> bool:
                return await finished(execution) == [status]

            await eventually(there, f"{execution} ends with {status}", SLOW)

        await eventually(lambda: f"worker {site.worker()} is ready" in site.node.log.read_text(), "it listens", SLOW)  # fmt: skip
        node = site.node.name
        short = ("run-workflow", node, workflow, '{"inputs": {"a": "ü"}, "params": {"steps": 3}}')
        first = await told(*short, "--request-id", "r1")
        assert await told(*short, "--request-id", "r1") == first
        await comes(first, "success")
        await site.tells(site.worker(), runs=first, inputs={"a": "ü"})
        assert site.count(site.worker(), runs=first, inputs={"a": "ü"}) == 1
        steps = await site.site.hub.rows(f"cyberwave/workflow/{workflow}/execution/{first}/node/*")
        assert len({each.name for each in steps}) == 3
        long = await told("run-workflow", node, workflow, '{"params": {"steps": 1000}}')
        assert long != first
        await site.tells(site.worker(), runs=long)
        assert await told("cancel-workflow", node, workflow, long) == long
        await comes(long, "canceled")


async def test_a_device_without_twins_says_so(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = site.node()
        await node.enrol(site.hub)
        await node.start()
        await node.ready()
        skerry = CommandLine(site)
        ended = await skerry.run("twin", "sync-workflows", node.name)
        assert (ended.code, "serves no twins" in ended.out) == (1, True), ended
