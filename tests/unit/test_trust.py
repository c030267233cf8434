"""Rules of the node's certificate, without any connection."""

import stat
from pathlib import Path

import pytest
from tests.trust_rig import DAY, HOUR, NOW, SERVER, Authority

from skerry.kit.clock import BUILD_TIME_NS, NS
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.hub_addresses import account_of
from skerry.node.identity import Enrolled, Identity
from skerry.node.trust.certificate import (
    RENEWABLE,
    floor,
    is_over,
    pinned_root,
    read_token,
    renews_at,
    why_not,
)
from skerry.node.trust.der import SERVER_AUTH, Read, certificates_in, read_certificate
from skerry.node.trust.files import TrustFiles
from skerry.node.trust.hardware import hardware_id
from skerry.wire.trust import TrustBundle

FLEET = Authority()
LEAF = Read(NOW * NS, (NOW + 72 * HOUR) * NS, frozenset())


def test_a_token_is_a_secret_and_the_root_to_believe() -> None:
    token = read_token(" word.print \n")
    assert (token.secret, token.fingerprint) == ("word", "print")
    assert read_token("word").fingerprint == ""
    assert "word" not in repr(token)


def test_the_root_is_found_among_others_and_nothing_else_will_do() -> None:
    roots = [Authority("a").root, FLEET.root]
    assert pinned_root(roots, FLEET.fingerprint, "hub") == FLEET.root
    both = FLEET.root + roots[0]
    for wrong in ([], [roots[0]], [both], ["nonsense"]):
        with pytest.raises(InvalidInput, match="another hub"):
            pinned_root(wrong, FLEET.fingerprint, "https://hub")


def test_what_a_certificate_says() -> None:
    leaf, intermediate = map(read_certificate, certificates_in(FLEET.server(life=DAY).decode()))
    assert leaf == Read((NOW - 300) * NS, (NOW - 300 + DAY) * NS, frozenset({SERVER_AUTH}))
    assert intermediate.usages == frozenset()
    late = Authority("late", now=2_600_000_000)  # after 2050 dates are written otherwise
    assert read_certificate(certificates_in(late.root)[0]).not_before == (2_600_000_000 - 300) * NS


def test_what_is_no_certificate_is_refused() -> None:
    der = certificates_in(FLEET.root)[0]
    for size in range(len(der)):
        with pytest.raises(InvalidInput):
            read_certificate(der[:size])
    assert certificates_in("nonsense") == []


def test_renewal_is_due_at_two_thirds_and_not_for_all_at_once() -> None:
    two_thirds = (NOW + 48 * HOUR) * NS
    assert renews_at(LEAF, 0) == two_thirds
    assert two_thirds < renews_at(LEAF, 1) < (NOW + 54 * HOUR) * NS
    assert not is_over(LEAF, LEAF.not_after + RENEWABLE - 1)
    assert is_over(LEAF, LEAF.not_after + RENEWABLE)


def test_the_floor_never_goes_back() -> None:
    assert floor(None, 0) == BUILD_TIME_NS
    assert floor(LEAF, 0) == LEAF.not_before
    assert floor(LEAF, LEAF.not_before + 1) == LEAF.not_before + 1
    assert floor(LEAF, 1) == LEAF.not_before


def test_every_certificate_of_the_chain_is_held_against_the_floor() -> None:
    chain = certificates_in(FLEET.server(life=400 * DAY).decode() + FLEET.root)
    ends = [read_certificate(der).not_after for der in chain]
    assert why_not(chain, min(ends) - 1) == ""
    assert "ended at 2028-01-1" in why_not(chain, min(ends))
    assert ends.index(min(ends)) == 1
    assert why_not([], 0) == "its certificate is not a hub's"


def test_files_are_for_their_owner_and_a_bundle_is_read_as_it_was_kept(tmp_path: Path) -> None:
    files = TrustFiles(tmp_path, RealDisk(), NullCipher())
    assert files.bundle() == TrustBundle(0, [])
    assert files.own() is files.pending() is None
    bundle = TrustBundle(12, [FLEET.root, Authority("b").root])
    files.keep_bundle(bundle)
    assert files.bundle() == bundle
    files.keep_pending(b"key")
    assert files.pending() == b"key"
    assert stat.S_IMODE(files.directory.stat().st_mode) == 0o700
    (files.directory / "enrolling.pem").chmod(0o604)
    with pytest.raises(Refused, match="others may read it"):
        files.pending()
    for damage in ("", "Skerry trust bundle x\n", "Skerry trust bundle 3\n", FLEET.root):
        (files.directory / "roots.pem").write_text(damage)
        with pytest.raises(Refused, match="cannot read .*roots.pem"):
            files.bundle()


def test_a_device_is_known_by_what_its_firmware_says_else_by_what_is_installed(
    tmp_path: Path,
) -> None:
    assert hardware_id(tmp_path) == ""
    for path, content, said in (
        ("etc/machine-id", "ab12\n", "machine:ab12"),
        ("sys/firmware/devicetree/base/serial-number", "1000AF\0", "board:1000af"),
        ("sys/class/dmi/id/product_uuid", "00000000-0000-0000-0000-000000000000\n", "board:1000af"),
        ("sys/class/dmi/id/product_uuid", "4C4C4544-0051\n", "dmi:4c4c4544-0051"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
        assert hardware_id(tmp_path) == said


@pytest.mark.guarantee("G9")
def test_who_has_a_certificate_shows_no_secret_and_goes_nowhere_without_tls() -> None:
    identity = Identity("n1", "gate", {}, "https://hub:8601", "h", certificate=True)
    enrolled = Enrolled(identity, "secret")
    account = account_of(None, enrolled, lambda _: None)
    assert account is not None
    assert (account.secret, account.authorization) == ("", "")
    assert account_of("https://a,https://b", enrolled, lambda _: None) is not None
    with pytest.raises(InvalidInput, match="hub.url http://b: .*that takes https"):
        account_of("https://a, http://b", enrolled, lambda _: None)


def test_a_servers_certificate_without_a_usage_is_none_of_a_hub() -> None:
    assert SERVER.dotted_string == "1.3.6.1.5.5.7.3.1"
    chain = certificates_in(FLEET.server(None).decode())
    assert why_not(chain, 0) == "its certificate is not a hub's"
