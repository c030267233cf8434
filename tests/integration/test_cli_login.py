"""`skerry access user`, `skerry login` and `skerry logout`: from a user's making to its end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import stat
import sys
import termios

import pytest
from tests.installation import sleeper
from tests.shell import Ended, Shell

from skerry.cli.contexts import contexts_file, read_contexts

pytestmark = [pytest.mark.timeout(120), pytest.mark.guarantee("G9")]

PASSWORD = "correct horse battery"


def password_file(shell: Shell, text: str = f"{PASSWORD}\n") -> str:
    file = shell.home / "password"
    file.write_text(text)
    return str(file)


async def make_user(shell: Shell, role: str = "operator") -> None:
    file = password_file(shell)
    made = await shell.run(
        "access", "user", "create", "ann", "--role", role, "--password-file", file
    )
    assert (made.code, made.err) == (0, "")
    assert "user «ann» may do what role operator may: skerry login ann --hub http://" in made.out


async def login(shell: Shell, *words: str) -> Ended:
    file = password_file(shell)
    return await shell.run(
        "login", "ann", "--hub", shell.site.hub.url, "--password-file", file, *words
    )


async def test_a_user_from_its_making_to_its_end(shell: Shell) -> None:
    await shell.site.started(sleeper("w1"))
    none = await shell.run("access", "user", "list")
    assert (none.code, none.out) == (0, "")
    await make_user(shell)
    listed = await shell.run("access", "user", "list")
    assert listed.lines[0].split() == ["NAME", "ROLE", "STATE", "CREATED", "BY", "CHANGED"]
    assert listed.lines[1].split()[:3] == ["ann", "operator", "enabled"]

    signed_in = await login(shell)
    assert (signed_in.code, signed_in.err) == (0, "")
    assert "as «ann» (role operator) until 2" in signed_in.out
    assert "commands now mean context «127-0-0-1»" in signed_in.out
    token = shell.home / ".config/skerry/tokens/127-0-0-1"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert read_contexts(contexts_file(shell.home)).current == "127-0-0-1"

    assert (await shell.run("restart", "workload", "w1")).code == 0
    refused = await shell.run("access", "user", "list")
    assert "cannot do this as «ann» (role operator): it needs permission configure" in refused.err

    again = await login(shell, "-o", "json", "--ttl", "1h")
    assert again.json["context"] == "127-0-0-1"
    left = await shell.run("logout")
    assert (left.code, left.err) == (0, "")
    assert "context «127-0-0-1» is gone" in left.out
    assert not token.exists()
    assert set(read_contexts(contexts_file(shell.home)).contexts) == {"test"}


async def test_what_changes_of_a_user_ends_its_token(shell: Shell) -> None:
    await shell.site.started()
    await make_user(shell)
    for words in (("set-role", "ann", "--role", "monitor"), ("disable", "ann")):
        assert (await login(shell, "--as", "mine")).code == 0
        assert (await shell.run("get", "nodes")).code == 0
        changed = await shell.run("access", "user", *words, "--context", "test")
        assert changed.code == 0, changed.err
        ended = await shell.run("get", "nodes")
        assert (ended.code, "as nobody" in ended.err) == (1, True)
        left = await shell.run("logout")
        assert (left.code, "the hub had taken the token back before" in left.err) == (0, True)
    refused = await login(shell)
    assert (refused.code, refused.err) == (
        1, "skerry: cannot sign in: no such user, or another password\n",
    )  # fmt: skip
    assert (await shell.run("access", "user", "enable", "ann", "--context", "test")).code == 0
    gone = await shell.run("access", "user", "delete", "ann", "--context", "test")
    assert "user «ann» is deleted" in gone.out


async def test_a_context_with_another_token_is_not_replaced(shell: Shell) -> None:
    await make_user(shell)
    for name in ("test", "default"):
        refused = await login(shell, "--as", name)
        assert refused.code == 1
        assert f"cannot sign in as context «{name}»: it has another token" in refused.err
    left = await shell.run("logout", "--context", "test")
    assert (left.code, "its token is not of «skerry login»" in left.err) == (1, True)


async def test_wrong_words_are_told_before_a_password_is_asked(shell: Shell) -> None:
    for words, said in (
        (("login", "ann", "--hub", "http://192.0.2.1:8600"), "would travel in the clear"),
        (("login", "ann", "--ttl", "long"), "cannot use --ttl: «long»"),
        (("login", "ann", "--as", "Wrong Name"), "cannot use --as: «Wrong Name» is not a name"),
        (("login", "ann", "--as", "x"), "stdin is no terminal. Name a file with --password-file"),
        (("login", "ann", "--as", "x", "--password-file", "/nowhere"), "cannot read /nowhere"),
        (("access", "role", "create", "r", "--permission", "read", "--on", "x"), "KEY=VALUE"),
    ):
        ended = await shell.run(*words)
        assert (ended.code != 0, said in ended.err) == (True, True), ended.err
    for text in ("", "\n", "two\nlines\n"):
        ended = await shell.run(
            "login", "ann", "--as", "x", "--password-file", password_file(shell, text)
        )
        assert "a password on one line" in ended.err


@pytest.mark.guarantee("G10")
async def test_a_password_is_typed_unseen(shell: Shell) -> None:
    ours, its = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "skerry.cli.main", "access", "user", "create", "ann", "--role", "monitor",
        stdin=its, stdout=its, stderr=its, start_new_session=True,
        env={**os.environ, "HOME": str(shell.home)},
        preexec_fn=_take_terminal,
    )  # fmt: skip
    os.close(its)
    seen = b""
    for prompt in (b"Password of ann: ", b"The same again: "):
        while prompt not in seen:
            seen += await asyncio.to_thread(os.read, ours, 1024)
        os.write(ours, PASSWORD.encode() + b"\n")
    while b"may do what" not in seen:
        seen += await asyncio.to_thread(os.read, ours, 1024)
    assert await process.wait() == 0
    os.close(ours)
    assert PASSWORD.encode() not in seen
    assert (await login(shell)).code == 0


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


async def test_roles_of_ones_own(shell: Shell) -> None:
    made = await shell.run(
        "access", "role", "create", "lab", "--permission", "read", "--permission", "execute", "--on", "site=lab",
    )  # fmt: skip
    assert made.out == "role «lab» may read, execute on nodes with site=lab\n"
    listed = await shell.run("access", "role", "list")
    assert listed.lines[0].split() == ["NAME", "PERMISSIONS", "ON", "ORIGIN"]
    assert ["lab", "read", "execute", "site=lab", "made"] in [line.split() for line in listed.lines]
    token = await shell.run("access", "token", "create", "ci", "--role", "lab")
    assert token.code == 0
    gone = await shell.run("access", "role", "delete", "lab")
    assert gone.out == "role «lab» is deleted\n"
    assert "is built in" in (await shell.run("access", "role", "delete", "admin")).err
