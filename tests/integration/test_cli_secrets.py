"""`skerry secret`: values from files and pipes, never from arguments, and never shown."""

from pathlib import Path

import pytest
from tests.installation import sleeper
from tests.shell import Shell

from skerry.testing.waiting import eventually
from skerry.wire.secrets import SecretUse

pytestmark = pytest.mark.timeout(120)

VALUE = "hunter22-of-the-shell"


@pytest.mark.guarantee("G10")
async def test_a_secret_from_its_making_to_its_end(shell: Shell, tmp_path: Path) -> None:
    node = await shell.site.started(sleeper("w0"))
    await shell.site.hub.apply(sleeper("w1", secrets=[SecretUse(name="api")]))
    nothing = await shell.run("secret", "list")
    assert "no secrets: skerry secret set NAME --from-file FILE" in nothing.err
    file = tmp_path / "value"
    file.write_text(VALUE)
    first = await shell.run("secret", "set", "db", "--from-file", str(file), "--on", "site=lab")
    assert (first.code, first.out) == (0, "secret «db»: version 1; no workload names it yet\n")
    second = await shell.run("secret", "set", "api", stdin=VALUE)
    assert second.out == "secret «api»: version 1; w1 get it\n"
    await eventually(lambda: node.runs("w1"), "it has what it waited for")
    third = await shell.run("secret", "set", "db", "--from-file", str(file), "-o", "json")
    assert third.json == {"name": "db", "version": 2, "used_by": []}

    listed = await shell.run("secret", "list")
    assert listed.lines[0].split() == ["NAME", "VERSION", "FOR", "USED", "BY", "NODES", "SET", "BY"]
    assert [line.split()[:2] for line in listed.lines[1:]] == [["api", "1"], ["db", "2"]]
    assert "every node" in listed.lines[1]
    assert "site=lab" in listed.lines[2]
    shown = (await shell.run("secret", "list", "-o", "json")).out
    assert VALUE not in listed.out + shown + first.out + second.out + third.out

    refused = await shell.run("secret", "delete", "api")
    assert (refused.code, refused.err) == (
        1,
        "skerry: cannot delete secret «api»: w1 need it. Change or delete them first.\n",
    )
    gone = await shell.run("secret", "delete", "db", "-o", "json")
    assert gone.json == {"secret": "db", "order": "delete"}
    audit = (await shell.run("audit", "list", "-o", "json")).out
    assert "/api/v1/secrets/db" in audit
    assert VALUE not in audit


async def test_what_cannot_be_set_is_told(shell: Shell, tmp_path: Path) -> None:
    await shell.site.started(sleeper("w1"))
    missing = await shell.run("secret", "set", "db", "--from-file", str(tmp_path / "none"))
    assert (missing.code, "No such file" in missing.err) == (2, True)
    both = await shell.run("secret", "set", "db", "--on", "a=b", "--node", "n1")
    assert "cannot use --on and --node together" in both.err
    wrong = await shell.run("secret", "set", "db", "--on", "lab")
    assert "cannot use --on lab: write LABEL=VALUE" in wrong.err
    empty = await shell.run("secret", "set", "db", stdin="")
    assert (empty.code, "cannot set secret «db»: it is empty" in empty.err) == (2, True)
    long = await shell.run("secret", "set", "db", stdin="x" * 70_000)
    assert (long.code, "at most 65536 are kept" in long.err) == (2, True)
