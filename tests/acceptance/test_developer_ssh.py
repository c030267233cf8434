"""Developers on a node by SSH: Debian's sshd, the hub's certificates, the node's outbound link."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from tests.installation import installation
from tests.leftovers import leftovers
from tests.namespace import namespace, reachable_from
from tests.shell import Shell
from tests.ssh_site import Site
from tests.sshd_rig import configure, sessions, set_up, sshd

from skerry.hub.trust.ssh_signing import host_certificate, read_public_key, user_certificate
from skerry.testing.waiting import eventually

EVERY_TWO_SECONDS = "access: {tunnel_idle: 8s}\n"
"""Settings of a hub that looks so often whether who is in may stay."""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@contextlib.asynccontextmanager
async def set_up_in(directory: Path, settings: str = "") -> AsyncIterator[Site]:
    home = directory / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(home))  # a killed command leaves its directory there
        async with installation(directory, settings) as found, sshd(directory) as server:
            node = found.node()
            await node.enrol(found.hub)
            configure(node, server)
            await node.start()
            await node.ready()
            shell = Shell(found, home)
            await set_up(shell, node)
            yield Site(found, node, server, shell)


@pytest_asyncio.fixture(loop_scope="module")
async def site(tidy_dir: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """For a test that ends or counts a part of it. A parameter, if there is one, is the hub's settings."""
    async with set_up_in(tidy_dir, getattr(request, "param", "")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Site]:
    """For tests that leave it as it is, but for certificates and people with names of their own."""
    with tempfile.TemporaryDirectory(prefix="sk-", dir="/tmp") as name:
        async with set_up_in(Path(name)) as found:
            yield found
        assert leftovers(Path(name)) == []


@pytest.mark.guarantee("G9")
async def test_a_person_logs_in_through_the_link(site: Site) -> None:
    done = await site.ssh(
        "echo", "hello", "$USER", ";", "cat", "/proc/sys/kernel/ostype", ";", "exit", "7"
    )
    assert (done.code, done.out) == (7, "hello root\nLinux\n"), done.err
    log = site.sshd.log.read_text()
    assert "ID admin 1 (serial 1)" in log
    entries = tunnels_in_the_nodes_own_log(site)
    assert entries[0] == (f"port {site.sshd.port}", "begun", "for «admin»")
    listed = await site.shell.run("access", "ssh", "list", "-o", "json")
    assert [(each["serial"], each["who"]) for each in listed.json] == [(1, "admin")]  # type: ignore[attr-defined]
    big = await site.ssh("head", "-c", "3000000", "/dev/zero")
    assert len(big.out) == 3_000_000


def tunnels_in_the_nodes_own_log(site: Site) -> list[tuple[str, str, str]]:
    query = "SELECT object, outcome, detail FROM audit WHERE action = 'open_tunnel' ORDER BY seq"
    with contextlib.closing(sqlite3.connect(site.node.directory / "node.db")) as database:
        return database.execute(query).fetchall()


async def test_who_has_no_right_gets_no_certificate(shared: Site) -> None:
    done = await shared.ssh("true", token=await shared.token("eve", "monitor"))
    assert done.code == 1
    assert "it needs permission execute" in done.err
    done = await shared.shell.run("ssh", "nobody", "--", "true")
    assert "there is no node «nobody»" in done.err


@pytest.mark.guarantee("G9")
async def test_a_limited_role_gets_what_shows_things_and_nothing_else(shared: Site) -> None:
    token = await shared.token("oscar", "operator")
    shown = await shared.ssh("status", token=token)
    assert shown.code == 0, shown.err
    assert "online" in shown.out
    for tried in (
        "cat /etc/passwd",
        "status; id",
        "status $(id)",
        "logs w --data-dir /",
        "sh",
        "node stop",
    ):
        refused = await shared.ssh(tried, token=token)
        assert (refused.code, refused.out) == (2, ""), refused
        assert "your role may only look" in refused.err or "cannot run «logs»" in refused.err
    kept = await shared.kept("oscar-files", "--token-file", str(token))
    sftp = subprocess.run(
        ["sftp", "-b", "-", "-F", kept / "config", shared.node.name],
        input=b"ls /\n", capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert sftp.returncode != 0
    assert b"etc" not in sftp.stdout
    forward = shared.client(kept, "-W", "127.0.0.1:22")
    assert "administratively prohibited" in forward.err or forward.code != 0


@pytest.mark.guarantee("G9")
async def test_a_revoked_certificate_is_out_and_others_stay_in(site: Site) -> None:
    revoked, other = await site.kept("revoked"), await site.kept("other")
    assert site.lets_in(revoked)
    done = await site.shell.run("access", "ssh", "revoke", "1")
    assert done.code == 0, done.err
    await eventually(lambda: not site.lets_in(revoked), "sshd has the list")
    assert "revoked" in site.sshd.log.read_text()
    assert site.lets_in(other)
    token = await site.token("ann", "admin")
    hers = await site.kept("hers", "--token-file", str(token))
    assert site.lets_in(hers)
    assert (await site.shell.run("access", "token", "revoke", "ann")).code == 0
    await eventually(lambda: not site.lets_in(hers), "her certificate went with her token")
    assert site.lets_in(other)


@pytest.mark.guarantee("G9")
async def test_expired_foreign_and_misdirected_certificates_are_out(shared: Site) -> None:
    kept = await shared.kept("kept", "--ttl", "3s")
    node_id = (kept / "known_hosts").read_text().split()[1]
    await eventually(lambda: not shared.lets_in(kept), "it has expired")
    assert "Certificate invalid: expired" in shared.sshd.log.read_text()
    good = await shared.kept("good")
    key = read_public_key(_public_line(good / "id"))
    authority = _authority(shared)
    now = time.time_ns()
    own = {
        "serial": 9,
        "key_id": "x",
        "now": now,
        "until": now + 60 * 10**9,
        "command": "",
        "source": "",
    }

    def put(by: Ed25519PrivateKey, node: str) -> None:
        line = user_certificate(by, key, node_id=node, **own)  # type: ignore[arg-type]
        (good / "id-cert.pub").write_text(line + "\n")

    put(authority, node_id)
    assert shared.lets_in(good)
    put(Ed25519PrivateKey.generate(), node_id)
    assert not shared.lets_in(good)
    put(authority, "01234567-89ab-7cde-8f01-23456789abcd")
    assert not shared.lets_in(good)
    assert "does not contain an authorized principal" in shared.sshd.log.read_text()


def _public_line(path: Path) -> str:
    done = subprocess.run(
        ["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _authority(site: Site) -> Ed25519PrivateKey:
    path = site.installation.hub.directory / "trust" / "ssh_user_ca"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    key = load_ssh_private_key(path.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


async def test_a_certificate_may_be_bound_to_an_address(shared: Site) -> None:
    here = await shared.kept("here", "--source", "127.0.0.0/8")
    assert shared.lets_in(here)
    elsewhere = await shared.kept("elsewhere", "--source", "10.0.0.0/8")
    assert not shared.lets_in(elsewhere)


@pytest.mark.guarantee("G9")
async def test_an_impostor_is_known_by_its_lack_of_a_certificate(
    shared: Site, tmp_path: Path
) -> None:
    node_id = ((await shared.kept("known")) / "known_hosts").read_text().split()[1]
    async with sshd(tmp_path) as impostor:
        direct = f"127.0.0.1:{impostor.port}"
        done = await shared.shell.run("ssh", shared.node.name, "--direct", direct, "--", "true")
        assert done.code == 255
        assert "no matching host key type" in done.err
        key = read_public_key((impostor.directory / "ssh_host_ed25519_key.pub").read_text().strip())
        now = time.time_ns()
        foreign = host_certificate(
            Ed25519PrivateKey.generate(), key, node_id=node_id, now=now, until=now + 60 * 10**9
        )
        (impostor.directory / "cert.pub").write_text(foreign + "\n")
        drop_in = impostor.directory / "sshd_config.d" / "1.conf"
        drop_in.write_text(f"HostCertificate {impostor.directory / 'cert.pub'}\n")
        await impostor.end()
        (impostor.directory / "sshd.pid").unlink(missing_ok=True)
        await impostor.start()
        done = await shared.shell.run("ssh", shared.node.name, "--direct", direct, "--", "true")
        assert done.code == 255
        assert "Host key verification failed" in done.err
    real = f"127.0.0.1:{shared.sshd.port}"
    done = await shared.shell.run("ssh", shared.node.name, "--direct", real, "--", "echo", "in")
    assert done.out == "in\n"


@pytest.mark.guarantee("G1")
async def test_on_site_a_kept_certificate_works_without_hub_and_agent(site: Site) -> None:
    kept = await site.kept("kept")
    await site.installation.hub.kill()
    await site.node.kill()
    assert site.lets_in(kept)


@pytest.mark.guarantee("G9")
async def test_a_device_whose_ports_are_closed_is_reached_by_its_own_link(tidy_dir: Path) -> None:
    home = tidy_dir / "home"
    home.mkdir()
    async with (
        namespace() as there,
        installation(tidy_dir) as found,
        reachable_from(there, found.hub.nodes_port) as port,
        sshd(tidy_dir, there.prefix, "0.0.0.0") as server,  # noqa: S104 - it listens, and yet nobody gets through
    ):
        node = found.node(url=f"https://{there.here}:{port}")
        await node.enrol(found.hub)
        configure(node, server)
        node.prefix = there.prefix
        await node.start()
        await node.ready()
        shell = Shell(found, home)
        await set_up(shell, node)
        with pytest.raises((OSError, TimeoutError)):
            await asyncio.wait_for(asyncio.open_connection(there.there, server.port), 2)
        done = await shell.run("ssh", "n1", "--", "cat /proc/net/dev")
        assert done.code == 0, done.err
        assert "ski" in done.out


@pytest.mark.guarantee("G9")
async def test_a_new_authority_takes_the_place_of_the_old_one(site: Site) -> None:
    old = await site.kept("old")
    assert site.lets_in(old)
    hub = site.installation.hub
    await hub.kill()
    for kind in ("user", "host"):
        (hub.directory / "trust" / f"ssh_{kind}_ca").unlink()
    await hub.start()
    await eventually(lambda: not site.lets_in(old), "sshd has heard of the new authority")
    new = await site.kept("new")
    await eventually(lambda: site.lets_in(new), "it opens, and the host certificate is its own")


@pytest.mark.parametrize("whom", ["node", "hub", "person"])
async def test_a_killed_end_leaves_no_session(site: Site, whom: str) -> None:
    process = await site.shell.start("ssh", site.node.name, "--", "echo in; sleep 600")
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"in\n"
    assert sessions(site.sshd.port)
    if whom == "person":
        process.kill()
    else:
        await (site.node.kill() if whom == "node" else site.installation.hub.kill())
    async with asyncio.timeout(60):
        assert await process.wait() == (-9 if whom == "person" else 255)
    await eventually(lambda: not sessions(site.sshd.port), "sshd's session has ended")


@pytest.mark.guarantee("G9")
async def test_an_open_session_ends_with_the_persons_right_to_it_and_with_the_node(
    site: Site,
) -> None:
    async def opened(name: str) -> asyncio.subprocess.Process:
        token = await site.token(name, "admin")
        words = ("ssh", site.node.name, "--token-file", str(token), "--", "echo in; sleep 600")
        process = await site.shell.start(*words)
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"in\n"
        return process

    hers, his = await opened("ann"), await opened("bob")
    both = len(sessions(site.sshd.port))
    async with asyncio.timeout(60):
        assert (await site.shell.run("access", "token", "revoke", "ann")).code == 0
        assert await hers.wait() == 255
        await eventually(lambda: len(sessions(site.sshd.port)) == both // 2, "hers alone has ended")
    assert his.returncode is None
    async with asyncio.timeout(60):
        assert (await site.shell.run("revoke", "node", site.node.name)).code == 0
        assert await his.wait() == 255
        await eventually(lambda: not sessions(site.sshd.port), "his has ended")


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize("site", [EVERY_TWO_SECONDS], indirect=True)
async def test_who_is_in_through_the_hub_is_out_when_the_certificate_is_revoked(
    site: Site,
) -> None:
    token, lasting = await site.token("ann", "admin"), ["--", "while echo in; do sleep 1; done"]
    ending = await site.shell.start("ssh", "n1", "--token-file", str(token), *lasting)
    staying = await site.shell.start("ssh", "n1", *lasting)
    for process in (ending, staying):
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"in\n"
    listed = (await site.shell.run("access", "ssh", "list", "-o", "json")).json
    hers = next(each["serial"] for each in listed if each["who"] == "ann")  # type: ignore[attr-defined]
    assert (await site.shell.run("access", "ssh", "revoke", str(hers))).code == 0
    async with asyncio.timeout(60):
        _, said = await ending.communicate()
    assert ending.returncode == 255
    assert "an SSH certificate of «ann» for this node was revoked" in said.decode()
    await eventually(lambda: len(sessions(site.sshd.port)) == 1, "sshd's session has ended")
    assert staying.returncode is None
    again = await site.ssh("echo", "in", token=token)
    assert again.out == "in\n", again.err
    assert (await site.shell.run("access", "ssh", "revoke", "--who", "admin")).code == 0
    async with asyncio.timeout(60):
        await staying.communicate()
    assert staying.returncode == 255


async def test_a_port_that_the_settings_allow_is_forwarded(shared: Site) -> None:
    refused = await shared.shell.run("port-forward", "n1", "1")
    assert refused.code == 1
    assert "access: {forward: [1]}" in refused.err
    process = await shared.shell.start("port-forward", "n1", f"0:{shared.sshd.port}")
    assert process.stderr is not None
    told = (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
    port = (
        int(told.split(":")[1].split(" ")[0])
        if told.startswith("127")
        else int(told.split("127.0.0.1:")[1].split(" ")[0])
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"SSH-2.0-OpenSSH")
    writer.close()
    process.kill()
    await process.wait()


async def test_the_set_up_is_shown_proved_and_taken_back(site: Site) -> None:
    options = ["--data-dir", str(site.node.directory)]
    drop_in = site.sshd.directory / "sshd_config.d" / "50-skerry.conf"
    before = drop_in.read_text()
    shown = await site.shell.run(
        "node", "ssh-setup", "--user", "root", "--dry-run", "--keep-passwords", *options
    )
    assert "TrustedUserCAKeys" in shown.out
    assert "PasswordAuthentication" not in shown.out
    (site.sshd.directory / "sshd_config.d" / "60-broken.conf").write_text("NoSuchOption yes\n")
    broken = await site.shell.run("node", "ssh-setup", "--user", "root", *options)
    assert broken.code == 1
    assert "sshd says" in broken.err
    assert drop_in.read_text() == before
    (site.sshd.directory / "sshd_config.d" / "60-broken.conf").unlink()
    nobody = await site.shell.run("node", "ssh-setup", "--user", "no-such-account", *options)
    assert "no account «no-such-account»" in nobody.err
    kept = await site.kept("kept")
    assert site.lets_in(kept)
    undone = await site.shell.run("node", "ssh-setup", "--undo", *options)
    assert undone.code == 0, undone.err
    assert not drop_in.exists()
    assert not (site.sshd.directory / "skerry").exists()
    await eventually(lambda: not site.lets_in(kept), "sshd has forgotten the hub")
