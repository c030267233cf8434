"""Walks an audit log from its beginning, and holds it to what was kept of it elsewhere: `skerry audit verify`."""

from __future__ import annotations

from dataclasses import dataclass, field

from skerry.cli.audit_sources import AT_ONCE, Pages
from skerry.core.audit_chain import GENESIS, Finding, cut_short, follow
from skerry.wire.audit import AuditHead, AuditHeadReply, NodeLogView, Witnesses


@dataclass
class Walked:
    """How far a log goes, what is wrong with it, and where nothing is, the hashes of its entries one after the other."""

    reached: AuditHeadReply
    finding: Finding | None = None
    hashes: bytearray = field(default_factory=bytearray)

    def hash_at(self, seq: int) -> str:
        """Of an entry from 1 to where the log ends."""
        return self.hashes[32 * (seq - 1) : 32 * seq].hex() if seq else GENESIS.hash


async def walk(pages: Pages, before: AuditHeadReply | None) -> Walked:
    """The log up to the head that it had at the beginning."""
    page = await pages(0, AT_ONCE)
    hub_id, until, head = page.hub_id, page.head, GENESIS
    if before is not None and before.hub_id != hub_id:
        words = f"it is the log of {hub_id:.40}, and was that of {before.hub_id:.40}"
        return Walked(AuditHeadReply(hub_id, until), Finding("forked", 1, words))
    known = before.head if before else GENESIS
    finding = None
    hashes = bytearray()
    while page.entries and finding is None:
        finding = follow(page.entries, head, known)
        if finding is None:
            hashes += b"".join(bytes.fromhex(row.hash) for row in page.entries)
        head = AuditHead(page.entries[-1].entry.seq, page.entries[-1].hash)
        if head.seq >= until.seq:
            break
        page = await pages(head.seq, AT_ONCE)
    finding = finding or cut_short(head, known) or cut_short(head, until)
    return Walked(AuditHeadReply(hub_id, head), finding, hashes)


def by_witnesses(walked: Walked, found: Witnesses, since: int) -> Finding | None:
    """What nodes contradict, by the heads that they keep of this hub's log; those of epochs before `since` are explained."""
    for witness in found.heads:
        kept = AuditHead(witness.head.seq, witness.head.hash)
        if witness.head.hub_id != found.hub_id or witness.head.epoch < since:
            continue
        told = f"node «{witness.node}» keeps a head of it"
        if kept.seq > walked.reached.head.seq:
            words = f"{told} with {kept.seq} entries, and it ends with {walked.reached.head.seq}"
            return Finding("truncated", walked.reached.head.seq + 1, words)
        if walked.hash_at(kept.seq) != kept.hash:
            words = f"{told} in which entry {kept.seq} is another one: it, or one before it, was written anew"
            return Finding("forked", kept.seq, words)
    return None


def by_its_hub(walked: Walked, view: NodeLogView) -> Finding | None:
    """What the hub has found against a node's log and nobody has accepted, or finds missing."""
    for each in view.findings:
        if not each.accepted:
            words = f"it contradicted what was kept of it: {each.words}"
            return Finding("forked", walked.reached.head.seq, words)
    return None


def of_view(view: NodeLogView, reached: int) -> str:
    """What a person should know besides: what has not come yet, and what nobody has signed."""
    words = []
    if view.told.seq > reached:
        words.append(f"entries {reached + 1} to {view.told.seq} are told of and have not come yet")
    if not view.signed:
        words.append("its heads are not signed: the node has no certificate")
    return "; ".join(words)
