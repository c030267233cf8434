"""`skerry access token`: a token from its making to its end, and the command line that uses one."""

import json
from pathlib import Path

import pytest
from tests.installation import sleeper
from tests.shell import Shell

from skerry.cli.access import tokens_table
from skerry.cli.contexts import Context, Contexts, contexts_file, write_contexts
from skerry.kit.clock import NS
from skerry.kit.disk import RealDisk
from skerry.wire.access import AccessTokenView

pytestmark = pytest.mark.timeout(120)


def as_token(shell: Shell, file: Path) -> list[str]:
    return ["--hub", shell.site.hub.url, "--token-file", str(file)]


async def test_a_token_from_its_making_to_its_end(shell: Shell) -> None:
    await shell.site.started(sleeper("w1"))
    none = await shell.run("access", "token", "list")
    assert (none.code, none.out) == (0, "")
    assert "no API tokens: skerry access token create NAME --role ROLE" in none.err

    made = await shell.run("access", "token", "create", "ci", "--role", "monitor", "--ttl", "90d")
    assert (made.code, len(made.lines)) == (0, 1)
    assert made.out.startswith("skt_")
    assert "skerry: «ci» may do what role monitor may until 2" in made.err
    assert "skt_" not in made.err
    file = shell.home / "ci.token"
    file.write_text(made.out)
    ci = as_token(shell, file)

    assert (await shell.run("get", "nodes", *ci)).lines[1].split()[0] == "n1"
    refused = await shell.run("restart", "workload", "w1", *ci)
    assert refused.code == 1
    assert refused.err == (
        "skerry: cannot do this as «ci» (role monitor): it needs permission execute. Ask for a token with role operator "
        f"or admin: skerry access token create. The token is from {file}.\n"
    )
    assert (await shell.run("access", "token", "list", *ci)).code == 1

    listed = await shell.run("access", "token", "list")
    assert listed.lines[0].split() == ["NAME", "ROLE", "STATE", "CREATED", "BY", "EXPIRES"]
    line = listed.lines[1].split()
    assert (line[:3], line[-4:-2]) == (["ci", "monitor", "valid"], ["admin", "in"])
    assert "skt_" not in (await shell.run("access", "token", "list", "-o", "json")).out

    revoked = await shell.run("access", "token", "revoke", "ci", "-o", "json")
    assert (revoked.code, revoked.json) == (0, {"token": "ci", "order": "revoke"})
    gone = await shell.run("get", "workloads", *ci)
    assert gone.code == 1
    assert "token «ci» was revoked at 2" in gone.err
    assert (await shell.run("access", "token", "list")).lines[1].split()[2] == "revoked"


async def test_a_context_of_another_hub_works_with_an_api_token(shell: Shell) -> None:
    made = await shell.run("access", "token", "create", "ann", "--role", "operator", "-o", "json")
    found = json.loads(made.out)
    assert (found["name"], found["role"]) == ("ann", "operator")
    file = shell.home / "ann.token"
    file.write_text(found["token"])
    away = Context(shell.site.hub.url, file, shell.home / "no-node")
    write_contexts(contexts_file(shell.home), Contexts("away", {"away": away}), RealDisk())
    assert (await shell.run("get", "nodes")).code == 0
    refused = await shell.run("token", "create")
    assert "cannot do this as «ann» (role operator): it needs permission configure" in refused.err
    address = (await shell.run("hub", "login")).out
    assert "/login?code=" in address


async def test_wrong_words_are_told(shell: Shell) -> None:
    for words, code, said in (
        (("create", "ci"), 2, "--role"),
        (
            ("create", "ci", "--role", "operater"),
            2,
            "unknown role «operater»: did you mean «operator»?",
        ),
        (("create", "Ci", "--role", "monitor"), 2, "cannot create a token: «Ci» is not a name"),
        (("create", "ci", "--role", "monitor", "--ttl", "long"), 2, "cannot use --ttl: «long»"),
        (("create", "ci", "--role", "monitor", "--ttl", "367d"), 2, "write 1 second to 366 days"),
        (("revoke", "ci/../x"), 1, "cannot"),
        (("revoke", "ci"), 1, "cannot revoke token «ci»: there is none of this name"),
    ):
        ended = await shell.run("access", "token", *words)
        assert (ended.code, said in ended.err) == (code, True), ended.err


def test_the_table_says_when_each_ends() -> None:
    now = 1_000 * NS
    views = [
        AccessTokenView("a", "admin", "valid", now - 5 * NS, now + 90 * NS, "admin"),
        AccessTokenView("b", "admin", "expired", now - 50 * NS, now - 20 * NS, "a"),
        AccessTokenView("c", "admin", "revoked", now - 50 * NS, now + 20 * NS, "a", now - NS),
    ]
    cells = [[getattr(cell, "text", cell) for cell in row] for row in tokens_table(views, now).rows]
    assert [(row[2], row[5]) for row in cells] == [
        ("valid", "in 1m 30s"), ("expired", "20s ago"), ("revoked", ""),
    ]  # fmt: skip
