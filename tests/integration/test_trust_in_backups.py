"""The fleet's authority in backups of the hub: only in sealed ones, and a hub elsewhere goes on with it."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Literal

import aiohttp
import pytest
from tests.hub_backups import hub_settings_at

from skerry.core.credentials import secret_hash
from skerry.hub import maintenance
from skerry.hub.backups.making import Made
from skerry.hub.backups.restoring import Restored, Wish
from skerry.kit.archive.reading import Archive
from skerry.kit.clock import SystemClock
from skerry.kit.errors import Refused
from skerry.testing.running_hub import CertifiedNode, RunningHub, running_hub
from skerry.wire.access import SignedIn, SignIn, UserRequest
from skerry.wire.codec import decode, encode
from skerry.wire.secret_views import SecretPut
from skerry.wire.sync import Hello


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("four words for it\n")
    path.chmod(0o600)
    return path


async def backed_up(tmp_path: Path, **storage: object) -> tuple[CertifiedNode, Made]:
    async with running_hub(tmp_path / "hub", method="certificate") as hub:
        node = await hub.certify("a")
    settings = hub_settings_at(tmp_path / "hub", **storage)
    made = await asyncio.to_thread(
        maintenance.back_up, settings, tmp_path / "one.skb", SystemClock()
    )
    return node, made


async def restored(tmp_path: Path, **storage: object) -> Restored:
    settings = hub_settings_at(tmp_path / "other", **storage)
    return await asyncio.to_thread(
        maintenance.restore, settings, tmp_path / "one.skb", Wish(replace=True), SystemClock()
    )


async def greets(hub: RunningHub, node: CertifiedNode) -> int:
    hello = Hello((1, 1), "11" * 16, "0.1.0", "boot-1")
    async with (
        node.session(hub) as session,
        session.post("/sync/v1/hello", data=encode(hello)) as response,
    ):
        return response.status


async def test_a_hub_elsewhere_goes_on_with_a_sealed_backup(
    tmp_path: Path, passphrase: Path
) -> None:
    node, made = await backed_up(tmp_path, backup_passphrase=passphrase)
    assert (made.encrypted, made.without_trust) == (True, False)
    done = await restored(tmp_path, backup_passphrase=passphrase)
    assert (done.trust, done.needs_trust) == (True, False)
    assert (tmp_path / "other/trust/root.key").stat().st_mode & 0o777 == 0o600
    async with running_hub(tmp_path / "other", method="certificate") as hub:
        assert await greets(hub, node) == 200


@pytest.mark.guarantee("G10")
async def test_a_backup_that_is_not_sealed_has_no_key(tmp_path: Path) -> None:
    node, made = await backed_up(tmp_path)
    assert (made.encrypted, made.without_trust) == (False, True)
    done = await restored(tmp_path)
    assert (done.trust, done.needs_trust) == (False, True)
    assert not (tmp_path / "other/trust").exists()
    with pytest.raises(Refused, match="the fleet has a root of trust"):
        async with running_hub(tmp_path / "other", method="certificate"):
            pass
    (tmp_path / "hub/trust").rename(tmp_path / "other/trust")
    async with running_hub(tmp_path / "other", method="certificate") as hub:
        assert await greets(hub, node) == 200


@pytest.mark.guarantee("G10")
async def test_a_backup_that_is_not_sealed_has_nothing_to_come_in_with(tmp_path: Path) -> None:
    password, value = "correct horse battery", "c4n4ry-of-a-database"
    async with running_hub(tmp_path / "hub", method="certificate") as hub:
        node = await hub.certify("a")
        unused = (await hub.token()).token.partition(".")[0]
        api = (await hub.access_token("ci", "operator"))["Authorization"].removeprefix("Bearer ")
        async with aiohttp.ClientSession(hub.address, headers=hub.person) as client:
            asked = encode(UserRequest("ann", "operator", password))
            async with client.post("/api/v1/access/users", data=asked) as response:
                assert response.status == 200
            asked = encode(SecretPut(value.encode()))
            async with client.put("/api/v1/secrets/db", data=asked) as response:
                assert response.status == 200
            asked = encode(SignIn("ann", password, None))
            async with client.post("/api/v1/sign-in", data=asked) as response:
                session = decode(await response.read(), SignedIn, "answer").token
        admin = hub.admin_token
    settings = hub_settings_at(tmp_path / "hub")
    await asyncio.to_thread(maintenance.back_up, settings, tmp_path / "one.skb", SystemClock())
    members = Archive(tmp_path / "one.skb").members(None)
    inside = b"".join(b"".join(member.content) for member in members)
    assert b"argon2id" in inside
    assert secret_hash(api).encode() in inside
    keys = [
        path.read_bytes() for path in (tmp_path / "hub/trust").iterdir() if ".crt" not in path.name
    ]
    assert len(keys) >= 3
    words = [word.encode() for word in (node.secret, unused, api, password, session, admin, value)]
    words += [base64.b64encode(value.encode())[:20], *(key.strip()[-90:] for key in keys)]
    assert [word for word in words if word in inside] == []
    assert b"PRIVATE KEY" not in inside


def keep(directory: Path, **files: str) -> None:
    """Files as the SSH authority and the secrets have them."""
    (directory / "trust").mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in files.items():
        path = directory / "trust" / name
        path.write_text(text)
        path.chmod(0o600)


@pytest.mark.parametrize("method", ["certificate", "secret"])
async def test_the_ssh_authority_comes_back_and_what_is_no_authoritys_stays(
    tmp_path: Path, passphrase: Path, method: Literal["certificate", "secret"]
) -> None:
    for name in ("hub", "other"):
        async with running_hub(tmp_path / name, method=method):
            pass
    keep(tmp_path / "hub", ssh_user_ca="ours", ssh_host_ca="ours, too")
    keep(tmp_path / "other", ssh_user_ca="theirs", **{"secrets.key": "sealed with it"})
    settings = hub_settings_at(tmp_path / "hub", backup_passphrase=passphrase)
    await asyncio.to_thread(maintenance.back_up, settings, tmp_path / "one.skb", SystemClock())
    done = await restored(tmp_path, backup_passphrase=passphrase)
    assert done.trust == (method == "certificate")
    trust = tmp_path / "other" / "trust"
    [aside] = (tmp_path / "other").glob("trust.before-*")
    assert (aside / "ssh_user_ca").read_text() == "theirs"
    assert not (aside / "secrets.key").exists()
    assert (trust / "secrets.key").read_text() == "sealed with it"
    for name, text in (("ssh_user_ca", "ours"), ("ssh_host_ca", "ours, too")):
        assert (trust / name).read_text() == text
        assert (trust / name).stat().st_mode & 0o777 == 0o600


async def test_what_another_root_has_is_set_aside(tmp_path: Path, passphrase: Path) -> None:
    async with running_hub(tmp_path / "other", method="certificate"):
        pass
    theirs = (tmp_path / "other/trust/root.crt").read_text()
    node, _ = await backed_up(tmp_path, backup_passphrase=passphrase)
    await restored(tmp_path, backup_passphrase=passphrase)
    [aside] = (tmp_path / "other").glob("trust.before-*")
    assert (aside / "root.crt").read_text() == theirs
    async with running_hub(tmp_path / "other", method="certificate") as hub:
        assert await greets(hub, node) == 200
