"""Becoming a node of a hub, by whichever way the token says: with a certificate, or by the secret alone.

A token «SECRET.FINGERPRINT» names the one root to believe. The hub is asked for its roots without trusting the answer,
the fingerprint picks the right one, and the secret part is shown only over a connection that this root vouches for.
"""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path

import msgspec

from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.kit.sealing.cipher import Cipher, NullCipher
from skerry.node.identity import Identity, lacks_secret, read_identity, read_secret
from skerry.node.node_settings import DIRECT, KeyKind, Proxies
from skerry.node.sync.connections import open_session
from skerry.node.sync.enrol import IS_IT_RUNNING, check_unknown, enrol
from skerry.node.sync.uplink import exchange, read_answer
from skerry.node.trust.certificate import floor, pinned_root, read_token
from skerry.node.trust.der import certificates_in
from skerry.node.trust.files import TrustFiles, is_in_tpm, joined, request_in, roots_text
from skerry.node.trust.hardware import hardware_id
from skerry.node.trust.making import new_key
from skerry.node.trust.tls import HubContext, unverified
from skerry.wire.sync import Enrol, Enrolled
from skerry.wire.trust import TrustBundle


class Site(msgspec.Struct, frozen=True):
    """Where a node is enrolled: its data directory, which exists, and the way to the hub.

    `cipher` seals the key, where encryption at rest is on; `ca_file` and `key` are the settings
    `hub.ca_file` and `trust.key`.
    """

    data_dir: Path
    disk: Disk
    cipher: Cipher = NullCipher()
    proxies: Proxies = DIRECT
    ca_file: Path | None = None
    key: KeyKind = "file"


async def enrol_node(hub_url: str, request: Enrol, site: Site, *, again: bool = False) -> Identity:
    """Enrols at the hub. The request's token is as people pass it on; the rest of the proof is made here.

    `again`: this node keeps its id and its records; the hub has deleted it, has withdrawn its key, or had no
    certificates when it was enrolled. Raises Refused, InvalidInput or Transient, each with the way out; asking
    again with the same token heals whatever was cut off.
    """
    token = read_token(request.token)
    if not token.fingerprint:
        return await _enrol_by_secret(hub_url, request, site, again=again)
    check_unknown(site.data_dir, again=again)
    if not hub_url.startswith("https://"):
        raise InvalidInput(
            f"cannot enrol at {hub_url}: the token is of a hub that gives certificates, and nodes reach it by https. "
            "Give its address for nodes, for example https://HOST:8601 (the hub's settings nodes.listen, nodes.address)."
        )
    root = pinned_root(await _roots_of(hub_url, site), token.fingerprint, hub_url)
    request = msgspec.structs.replace(request, token=token.secret, hardware=hardware_id())
    return await _enrol_at(hub_url, root, request, site, again=again)


async def _enrol_by_secret(hub_url: str, request: Enrol, site: Site, *, again: bool) -> Identity:
    async with open_session(ca_file=site.ca_file) as session:
        try:
            return await enrol(
                session, hub_url, request, site.data_dir, site.disk, again=again, proxies=site.proxies
            )  # fmt: skip
        except Transient as error:
            if isinstance(
                error.__cause__ and error.__cause__.__cause__, ssl.SSLCertVerificationError
            ):
                raise InvalidInput(
                    f"cannot enrol: the token names no root, and nobody that this machine knows vouches for {hub_url}. "
                    "A hub that gives certificates prints tokens of two words with a dot between: was it cut off?"
                ) from error
            raise


async def _roots_of(hub_url: str, site: Site) -> list[str]:
    """What anybody may have put there: only for `pinned_root`."""
    url, what = f"{hub_url.rstrip('/')}/trust/v1/bundle", "ask for its roots"
    async with open_session(tls=unverified()) as session:
        try:
            said = await exchange(session, url, None, {}, what=what, proxies=site.proxies)
        except Transient as error:
            raise Transient(f"{error}. {IS_IT_RUNNING}") from error
        return read_answer(said, TrustBundle, what).roots


async def _enrol_at(
    hub_url: str, root: str, request: Enrol, site: Site, *, again: bool
) -> Identity:
    files = TrustFiles(site.data_dir, site.disk, site.cipher)
    try:
        keyed = files.pending()
        if keyed is None or is_in_tpm(keyed) != (site.key == "tpm"):
            keyed = await new_key(site.key)
            files.keep_pending(keyed)
        known = read_identity(site.data_dir)
        new = known is None or lacks_secret(site.data_dir)
        secret = "" if new else read_secret(site.data_dir, site.cipher)
        asked = msgspec.structs.replace(request, csr=request_in(keyed))
        async with open_session(tls=HubContext.of(root, floor=_build_time)) as session:
            identity = await enrol(
                session, hub_url, asked, site.data_dir, site.disk,
                again=again, proxies=site.proxies, secret=secret, keep=partial(_keep, files, keyed),
            )  # fmt: skip
        files.forget_pending()
    except OSError as error:
        raise Refused(
            f"cannot enrol: cannot write to {files.directory}: {error.strerror}. "
            "Make room and try again with the same token."
        ) from error
    return identity


def _keep(files: TrustFiles, keyed: bytes, enrolled: Enrolled) -> None:
    if enrolled.trust is None or not certificates_in(enrolled.certificate):
        raise Refused("cannot enrol: the hub gave no certificate")
    own = joined(keyed, enrolled.certificate)
    HubContext.of(roots_text(enrolled.trust), own, floor=_build_time)  # they fit, or this raises
    files.keep_bundle(enrolled.trust)
    files.keep_own(own)


def _build_time() -> int:
    """And nothing later: who was told a time that never was gets out of it by enrolling again."""
    return floor(None, 0)
