"""What people may write where SSH is concerned, and what OpenSSH says to our list of revoked certificates."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from skerry.cli.developer import read_ports
from skerry.cli.http import Api
from skerry.cli.limited import command_of
from skerry.cli.ssh_client import Direct, check, fetch_certificate, read_direct
from skerry.core.ssh_krl import revocation_list
from skerry.hub.trust.ssh_keys import public_line
from skerry.hub.trust.ssh_signing import read_public_key, read_source, user_certificate
from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput, Refused
from skerry.node.access.ssh_trust import Kept, kept_of, wants_host_certificate
from skerry.node.access.sshd import Places, drop_in, read_effective
from skerry.wire.ssh import SshCertificate, SshTrust


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("status", ["node", "status"]),
        ("skerry sync", ["sync", "status"]),
        ("logs cam -f --since 10m", ["logs", "cam", "-f", "--since", "10m"]),
        ("help", []),
        ("", []),
    ],
)
def test_a_limited_person_may_look(line: str, words: list[str]) -> None:
    assert command_of(line) == words


@pytest.mark.parametrize(
    "line",
    [
        "sh", "status --data-dir /", "status; sh", "logs", "logs ../../etc", "logs -f", "logs w --node other", "node status",
        "logs w --since", "logs w --since -f", "logs w extra", "`sh`", "$(sh)", "status | sh", "logs w '", "node stop", "doctor\nsh",
    ],
)  # fmt: skip
def test_a_limited_person_may_do_nothing_else(line: str) -> None:
    with pytest.raises(InvalidInput):
        command_of(line)


def test_where_a_node_is_reached_directly() -> None:
    assert read_direct("10.0.0.7") == Direct("10.0.0.7")
    assert read_direct("box.example:2222") == Direct("box.example", 2222)
    assert read_direct("[fd00::1]:22") == Direct("fd00::1", 22)
    assert read_direct("fd00::1") == Direct("fd00::1")
    for wrong in ("", "-oProxyCommand=x", "a b", "host:port", "host:99999", "a%h"):
        with pytest.raises(InvalidInput):
            read_direct(wrong)


def test_which_ports_are_forwarded() -> None:
    assert read_ports("8080") == (8080, 8080)
    assert read_ports("0:22") == (0, 22)
    for wrong in ("", "22:", ":0", "a:22", "22:70000", "-1", "1:2:3"):
        with pytest.raises(InvalidInput):
            read_ports(wrong)


def test_keys_and_addresses_that_no_certificate_is_made_for() -> None:
    good = public_line(Ed25519PrivateKey.generate())
    assert read_public_key(good)
    for wrong in (
        "",
        "ssh-ed25519",
        "ssh-dss AAAA",
        f"{good}\n{good}",
        "x" * 5000,
        "ssh-ed25519 !!!",
    ):
        with pytest.raises(InvalidInput):
            read_public_key(wrong)
    assert read_source("10.1.2.3/8") == "10.0.0.0/8"
    with pytest.raises(InvalidInput):
        read_source("10.0.0.0/8,0.0.0.0/0")


def test_openssh_reads_the_list_of_revoked_certificates(tmp_path: Path) -> None:
    authority, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    krl = tmp_path / "krl"
    for revoked in ([], [3], [3, 70_000, 2**40]):
        data = revocation_list(public_line(authority), revoked, number=len(revoked), made_at=1)
        krl.write_bytes(data)
        for serial in (1, 3, 70_000, 2**40):
            certificate = tmp_path / "id-cert.pub"
            line = user_certificate(
                authority, key.public_key(), serial=serial, key_id="x", node_id="n", now=10**18,
                until=2 * 10**18, command="", source="",
            )  # fmt: skip
            certificate.write_text(line + "\n")
            done = subprocess.run(
                ["ssh-keygen", "-Q", "-f", krl, certificate], capture_output=True, check=False
            )
            assert done.returncode == (1 if serial in revoked else 0), done.stdout


def a_certificate() -> SshCertificate:
    authority, key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    node_id = "0198c5f2-7a11-7c3e-9d20-0123456789ab"
    line = user_certificate(
        authority, key.public_key(), serial=1, key_id="ann 1", node_id=node_id, now=10**18,
        until=2 * 10**18, command="skerry node limited", source="10.0.0.0/8",
    )  # fmt: skip
    return SshCertificate(
        line, 1, "ann 1", node_id, "cam-7", "dev", 22, public_line(authority), 2 * 10**18
    )


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize(
    ("what", "word"),
    [
        ("node", "cam-7\n    ProxyCommand sh -c 'touch /tmp/x'\nHost x"), ("node", "*"), ("node", "-F"), ("node", ""),
        ("node_id", "*"), ("node_id", "n1,!n2"), ("node_id", "-oProxyCommand=x"), ("user", "dev\n    ProxyCommand x"),
        ("user", "-l"), ("user", "a b"), ("user", "%r"), ("port", 0), ("port", 65536),
        ("host_ca", "ssh-ed25519 AAAA\n* ssh-ed25519 AAAA"), ("host_ca", ""), ("certificate", "x\ny"),
    ],
)  # fmt: skip
def test_a_hub_that_was_taken_over_writes_no_options_of_its_own(what: str, word: str | int) -> None:
    good = a_certificate()
    check(good)
    with pytest.raises(Refused, match=f"its {what} is not of the form"):
        check(msgspec.structs.replace(good, **{what: word}))


class _TakenOver:
    """A hub whose answers are not of its form."""

    async def send(self, *_asked: object) -> SshCertificate:
        return msgspec.structs.replace(a_certificate(), user="dev\n    ProxyCommand x")


@pytest.mark.guarantee("G9")
async def test_nothing_of_such_a_hubs_answer_is_kept(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="its user is not of the form"):
        await fetch_certificate(cast("Api", _TakenOver()), "cam-7", tmp_path, ttl=60.0)
    assert not list(tmp_path.iterdir())


def test_a_host_certificate_is_renewed_in_time() -> None:
    kept = Kept("r", "key", "ca", 1000, 4000)
    assert [wants_host_certificate(kept, "key", now) for now in (1000, 2999, 3000, 5000, 10)] == [
        False, False, True, True, True,
    ]  # fmt: skip
    assert wants_host_certificate(kept, "another", 1000)
    assert wants_host_certificate(Kept(), "key", 1000)


@pytest.mark.parametrize("wrong", [-400, -40, 0, 40, 400])
def test_a_device_whose_clock_is_wrong_asks_for_a_host_certificate_as_often_as_others(
    wrong: int,
) -> None:
    day = 86_400 * NS
    hubs = 20_000 * day
    now = hubs + wrong * day
    answer = SshTrust(
        "u", "ca", "r", b"", "certificate", host_until=hubs + 30 * day, host_since=hubs
    )
    kept = kept_of(answer, "key", now)
    later = [now, now + 1, now + 19 * day, now + 20 * day, now + 31 * day]
    assert [wants_host_certificate(kept, "key", at) for at in later] == [
        False, False, False, True, True,
    ]  # fmt: skip


def test_passwords_stay_where_the_administrator_wants_them() -> None:
    places = Places(Path("/etc/ssh"))
    strict, kept = (drop_in(places, "dev", passwords=each) for each in (False, True))
    assert "PasswordAuthentication no" in strict
    assert "PasswordAuthentication" not in kept
    assert "AuthorizedPrincipalsFile /etc/ssh/skerry/principals/%u" in kept
    assert kept.index("HostCertificate") < kept.index("Match User dev")


def test_what_sshd_says_of_itself() -> None:
    said = "port 2222\nport 22\nhostkey /etc/ssh/rsa\nhostkey /etc/ssh/ssh_host_ed25519_key\npidfile /run/x.pid\n"
    found = read_effective(said, Path("/etc/ssh/sshd_config"))
    assert (found.port, found.host_key) == (2222, Path("/etc/ssh/ssh_host_ed25519_key.pub"))
    assert found.pid_file == Path("/run/x.pid")
