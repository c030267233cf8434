"""What OpenSSH's own programs make of our settings: by them the client believes nobody else, and sshd lets nobody else in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from skerry.cli.contexts import Context
from skerry.cli.ssh_client import Direct, command_line, config_text, options, way
from skerry.hub.trust.ssh_keys import public_line
from skerry.node.access.sshd import Places, Sshd, drop_in
from skerry.wire.ssh import SshCertificate

pytestmark = pytest.mark.guarantee("G9")

NODE_ID = "0198c5f2-7a11-7c3e-9d20-0123456789ab"


def made() -> SshCertificate:
    line = public_line(Ed25519PrivateKey.generate())
    return SshCertificate(line, 1, "ann 1", NODE_ID, "cam-7", "dev", 22, line, 2 * 10**18)


def settings(words: list[str]) -> dict[str, str]:
    """What `ssh -G` and `sshd -T` print."""
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def expected(directory: Path) -> dict[str, str]:
    return {
        "user": "dev",
        "stricthostkeychecking": "true",
        "updatehostkeys": "false",
        "hostkeyalias": NODE_ID,
        "userknownhostsfile": str(directory / "known_hosts"),
        "globalknownhostsfile": "none",
        "identityfile": str(directory / "id"),
        "certificatefile": str(directory / "id-cert.pub"),
        "identitiesonly": "yes",
        "identityagent": "none",
        "preferredauthentications": "publickey",
        "forwardagent": "no",
        "permitlocalcommand": "no",
        "serveraliveinterval": "30",
    }


@pytest.mark.parametrize("by", ["command", "file"])
def test_the_client_believes_the_authority_and_shows_the_certificate_alone(
    tmp_path: Path, by: str
) -> None:
    every = [*options(made(), tmp_path), *way(made(), a_context(tmp_path), Direct("10.0.0.7"))]
    if by == "command":
        words = command_line(every, "cam-7", [], terminal=False)
        # Whatever the person's and the system's files say is not read.
        assert words[1:3] == ["-F", "none"]
    else:
        (tmp_path / "config").write_text(config_text(every, ["cam-7"]))
        words = ["ssh", "-F", str(tmp_path / "config"), "cam-7"]
    found = settings([words[0], "-G", *words[1:]])
    assert {key: found.get(key) for key in expected(tmp_path)} == expected(tmp_path)
    assert (found["hostname"], found["port"]) == ("10.0.0.7", "22")
    kinds = found["hostkeyalgorithms"].split(",")
    assert kinds
    assert all("-cert-v01@openssh.com" in kind for kind in kinds)


def a_context(directory: Path) -> Context:
    return Context("http://127.0.0.1:8600", directory / "token", directory / "n1")


@pytest.mark.parametrize("passwords", [False, True])
def test_sshd_asks_for_certificates_of_that_account_alone(
    tmp_path: Path, *, passwords: bool
) -> None:
    places = Places(tmp_path)
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    places.drop_in.parent.mkdir()
    places.drop_in.write_text(drop_in(places, "root", passwords=passwords))
    places.config.write_text(
        f"Include {tmp_path}/sshd_config.d/*.conf\nHostKey {key}\nPasswordAuthentication yes\n"
    )
    sshd = Sshd(places.config, None)

    def of(user: str) -> dict[str, str]:
        text = sshd.effective({"user": user, "host": "localhost", "addr": "127.0.0.1"})
        return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)

    ours, others = of("root"), of("daemon")
    assert ours["trustedusercakeys"] == str(places.kept / "user_ca.pub")
    assert ours["revokedkeys"] == str(places.kept / "krl")
    assert ours["authorizedprincipalsfile"] == str(places.own / "principals" / "%u")
    assert ours["passwordauthentication"] == ("yes" if passwords else "no")
    assert ours["authenticationmethods"] == ("any" if passwords else "publickey")
    assert passwords or ours["kbdinteractiveauthentication"] == "no"
    for key_of_ours in ("trustedusercakeys", "revokedkeys", "authorizedprincipalsfile"):
        assert others[key_of_ours] == "none"
    assert others["passwordauthentication"] == "yes"
