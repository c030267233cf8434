"""`skerry logs` against a real hub and real nodes."""

import re
import signal

import pytest
from tests.shell import Shell

from skerry.testing.waiting import eventually

pytestmark = pytest.mark.timeout(120)

SPEC = """\
kind: workload
name: w1
process: {command: [python, -c, "print('hello', flush=True); import signal; signal.pause()"]}
streams: {"t.*": keep}
"""


async def test_logs_here_and_through_the_hub(shell: Shell) -> None:
    node = await shell.site.started()
    await shell.run("apply", "-f", "-", stdin=SPEC)
    await eventually(lambda: node.runs("w1"), "w1 runs")

    async def printed() -> bool:
        return "hello" in (await shell.run("logs", "w1")).out

    await eventually(printed, "its line is in the log")
    following = await shell.start("logs", "w1", "-f")
    assert following.stdout is not None
    assert re.fullmatch(rb"\S+Z hello\n", await following.stdout.readline())
    following.send_signal(signal.SIGINT)
    _, errors = await following.communicate()
    assert (following.returncode, errors) == (130, b"")
    assert (await shell.run("logs", "w1", "--since", "1h")).out.count("hello") == 1

    await eventually(lambda: node.link_is("online"), "the link is up")
    elsewhere = shell.home / "no-node-here"
    through = await shell.run("logs", "w1", "--data-dir", str(elsewhere))
    assert (through.code, through.out.count("hello")) == (0, 1)
    assert through.err == ""
    unknown = await shell.run("logs", "nobody")
    assert unknown.code == 1
    assert "nobody" in unknown.err


SHIPPED = """\
kind: workload
name: w1
process: {command: [python, -c, "print('INFO: hello'); print('ERROR: woe', flush=True); import signal; signal.pause()"]}
logs: {ship: true}
"""


async def test_logs_of_several_nodes_and_of_one_that_is_away(shell: Shell) -> None:
    first, second = await shell.site.started(), shell.site.node("n2")
    await second.enrol(shell.site.hub)
    await second.start()
    await second.ready()
    await shell.run("apply", "-f", "-", stdin=SHIPPED)
    elsewhere = ("--data-dir", str(shell.home / "no-node-here"))

    async def both() -> bool:
        return (await shell.run("logs", "w1", *elsewhere)).out.count("woe") == 2

    await eventually(both, "both nodes have printed")
    errors = await shell.run("logs", "w1", "--level", "warn", "--since", "1h", *elsewhere)
    assert [line.split(" | ")[0] for line in sorted(errors.lines)] == ["n1", "n2"]
    assert all(re.fullmatch(r"n[12] \| \S+Z ERROR: woe", line) for line in errors.lines)
    past = await shell.run(
        "logs", "w1", "--since", "2h", "--until", "1h", "--node", "n1", *elsewhere
    )
    assert (past.out, past.err) == (
        "",
        "skerry: workload «w1» has printed nothing since 2h until 1h\n",
    )

    async def sent() -> bool:
        return (await shell.run("logs", "w1", "--shipped", *elsewhere)).out.count("woe") == 2

    await eventually(sent, "both nodes have sent it")
    await first.kill()

    async def away() -> bool:
        return "no live link" in (await shell.run("logs", "w1", *elsewhere)).err

    await eventually(away, "the hub has noticed")
    one = await shell.run("logs", "w1", "--node", "n1", "--level", "error", *elsewhere)
    assert re.fullmatch(r"\S+Z ERROR: woe\n", one.out)
    assert "These lines it had sent before" in one.err
    two = await shell.run("logs", "w1", *elsewhere)
    assert (two.code, two.out.count("woe")) == (0, 2)
    refused = await shell.run("logs", "w1", "--follow", "--shipped", *elsewhere)
    assert refused.code == 2
