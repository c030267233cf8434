"""What everybody was told, and what must be true at the end because of it: plain Python, no code of the product.

An *edit* carries a token that no other has. It must be found at the hub (in the row, in what the row was or what lost, among
what waits) unless its own node went on from it: then the later edit answers for it. A *record* must be there once, with its
value. What only a copy that was put back could have known is excused, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Identity = tuple[str, int]
"""A record's session and counter."""

Place = tuple[str, str]
"""A row's entity and id."""


SAME_TIME = 0.01
"""Seconds that clocks need not tell apart."""

SLOW = 59.0
"""A clock that is further behind, in seconds, does not take over the time of others (a minute ahead at most)."""


@dataclass
class Edit:
    """One change of a row by a node. `answers_for` are the tokens that it replaces knowingly."""

    node: str
    place: Place
    token: str
    answers_for: frozenset[str] = frozenset()
    accepted: bool = False
    excused: bool = False
    undone: bool = False
    """Its node was put back to a time before it, and nobody else had heard of it."""
    at: float = 0.0
    """When it was made, in true time."""
    field: str = ""
    """Of the row, where it changed no other."""
    silent: bool = False
    """It leaves no token: a deletion, or a sum."""


@dataclass
class Written:
    """Records that one submission brought."""

    node: str
    values: dict[Identity, str]
    accepted: bool = False


@dataclass(frozen=True)
class Stood:
    """A version at the hub and its clock: what the row is or was, or what was not simply taken."""

    place: Place
    rev: int
    clock: int
    was_row: bool
    why: str = ""
    text: str = ""


@dataclass
class AtHub:
    """What the hub has at one moment, as the database says it."""

    records: list[tuple[Identity, str]]
    rows: dict[Place, str]
    """Bodies as text, of rows that are not deleted."""
    history: list[tuple[Place, str]]
    waiting: list[tuple[Place, str]]
    versions: list[Stood] = field(default_factory=list)

    def texts(self) -> list[str]:
        """The bodies of everything."""
        return [*self.rows.values(), *(text for _, text in [*self.history, *self.waiting])]


@dataclass
class Oracle:
    """The memory of one run."""

    records: list[Written] = field(default_factory=list)
    edits: dict[str, Edit] = field(default_factory=dict)
    excused: set[Identity] = field(default_factory=set)
    orphans: set[Identity] = field(default_factory=set)
    """Accepted records that no node has any more: the hub alone."""
    owned: dict[Place, str | None] = field(default_factory=dict)
    """Rows with one writer: what it wrote last; None: it deleted the row."""
    unsure: set[Place] = field(default_factory=set)
    """Rows whose writer was not answered, or was put back."""
    added: Counter[Place] = field(default_factory=Counter)
    """Sums that were added to counting rows."""
    may_add: Counter[Place] = field(default_factory=Counter)
    deleted: set[Place] = field(default_factory=set)
    """Rows that somebody may have deleted."""
    put_back: set[str] = field(default_factory=set)
    """Machines that were put back or cloned."""

    def forget_edits(
        self, gone: Callable[[Edit], bool], hub: AtHub, *, undone: bool = False
    ) -> None:
        """Excuses edits that are `gone` from the machines and not at the hub."""
        texts = hub.texts()
        for edit in self.edits.values():
            if edit.accepted and gone(edit) and not any(edit.token in text for text in texts):
                edit.excused, edit.undone = True, undone

    def check(self, hub: AtHub) -> list[str]:
        """What is wrong, in words."""
        return [
            *self._check_records(hub),
            *self._check_edits(hub),
            *self._check_owned(hub),
            *self._check_sums(hub),
            *self._check_knowledge(hub),
            *too_old(hub.versions),
        ]

    def _check_records(self, hub: AtHub) -> list[str]:
        wrong: list[str] = []
        count = Counter(identity for identity, _ in hub.records)
        wrong += [f"record {each} is there {n} times" for each, n in count.items() if n > 1]
        found = dict(hub.records)
        for written in self.records:
            for identity, value in written.values.items():
                if identity in found and found[identity] != value:
                    wrong.append(f"record {identity} has another value")
                if identity not in found and written.accepted and identity not in self.excused:
                    wrong.append(f"record {identity} of {written.node} is lost")
        offered = {identity for written in self.records for identity in written.values}
        wrong += [f"record {each} was never offered" for each in found if each not in offered]
        return wrong

    def _check_edits(self, hub: AtHub) -> list[str]:
        texts: dict[Place, list[str]] = {}
        for place, text in [*hub.rows.items(), *hub.history, *hub.waiting]:
            texts.setdefault(place, []).append(text)
        answered = {
            token for edit in self.edits.values() if not edit.undone for token in edit.answers_for
        }
        return [
            f"edit {edit.token} of {edit.place} by {edit.node} is nowhere"
            for edit in self.edits.values()
            if edit.accepted
            and not edit.excused
            and not edit.silent
            and edit.token not in answered
            and not any(edit.token in text for text in texts.get(edit.place, ()))
        ]

    def _check_owned(self, hub: AtHub) -> list[str]:
        wrong: list[str] = []
        for place, expected in self.owned.items():
            if place in self.unsure:
                continue
            found = hub.rows.get(place)
            if (found is None) != (expected is None) or (expected and expected not in str(found)):
                wrong.append(f"row {place} should be {expected}, it is {found}")
        return wrong

    def _check_knowledge(self, hub: AtHub) -> list[str]:
        """A row is never what somebody had replaced who knew it, unless a person decides so (manual)."""
        if self.put_back:
            return []
        replaced = {
            token: edit.token
            for edit in self.edits.values()
            if edit.accepted
            for token in edit.answers_for
        }
        return [
            f"row {place} is {token} again, which {replaced[token]} had replaced"
            for place, text in hub.rows.items()
            if place[0] not in {"merged", "entity", "manual"}
            for token in [json.loads(text)["t"]]
            if token in replaced
        ]

    def check_winners(self, hub: AtHub, *, clocks_were_right: bool) -> list[str]:
        """What is wrong about who has won, by the entities' strategies. Of runs without copies that were put back."""
        made: dict[Place, list[Edit]] = {}
        for edit in self.edits.values():
            made.setdefault(edit.place, []).append(edit)
        wrong: list[str] = []
        for place, text in hub.rows.items():
            if place[0] == "merged":
                wrong += self._check_union(place, text)
            elif place not in self.deleted and place[0] != "manual":
                winner = self.edits.get(json.loads(text).get("t", ""))
                rule = {"central": self._central, "edge": _edge, "newest": _newest}.get(place[0])
                if winner is None or rule is None or (rule is _newest and not clocks_were_right):
                    continue
                if (better := rule(winner, made[place])) is not None:
                    wrong.append(f"row {place} is {winner.token}, {better.token} should have won")
        return wrong

    def check_order(self, hub: AtHub, begin: int, slow: Collection[str]) -> list[str]:
        """Edits whose clock is behind what they were made on, though their nodes' clocks were never `slow`.

        `begin` is the wall clock where true time is 0, in ns. What a clock that is ahead has written is passed over.
        """
        clocks: dict[str, int] = {}
        for version in hub.versions:
            for token in re.findall(r"\b[th]\d+\.", version.text):
                clocks[token] = min(version.clock, clocks.get(token, version.clock))
        wrong: list[str] = []
        for edit in self.edits.values():
            if edit.silent or edit.node in slow or edit.token not in clocks:
                continue
            for token in edit.answers_for & clocks.keys() & self.edits.keys():
                made = begin + int((self.edits[token].at + 1) * 1e9)
                is_true = clocks[token] <= (made // 1_000_000) << 16
                if is_true and clocks[edit.token] <= clocks[token]:
                    wrong.append(
                        f"edit {edit.token} of {edit.place} is not later than {token}, on which it was made"
                    )
        return wrong

    def _check_union(self, place: Place, text: str) -> list[str]:
        tags = json.loads(text).get("tags", [])
        return [
            f"row {place} has no tag {edit.token}"
            for edit in self.edits.values()
            if edit.place == place and edit.field == "tags" and edit.accepted
            if edit.token not in tags
        ]

    def _central(self, winner: Edit, made: Sequence[Edit]) -> Edit | None:
        """A node's edit wins only over what of the hub's it knew."""
        by_hub = [edit for edit in made if edit.node == "hub" and edit.accepted]
        if winner.node == "hub" or not by_hub:
            return None
        known: set[str] = set()
        asked = {winner.token}
        while asked:
            known |= asked
            asked = {
                t for token in asked if token in self.edits for t in self.edits[token].answers_for
            }
            asked -= known
        return None if by_hub[-1].token in known else by_hub[-1]

    def _check_sums(self, hub: AtHub) -> list[str]:
        if self.put_back:
            return []
        wrong: list[str] = []
        for place, most in self.may_add.items():
            found = json.loads(hub.rows.get(place, "{}")).get("n", 0)
            if not self.added[place] <= found <= most:
                wrong.append(f"the sum of {place} is {found}, {self.added[place]} were added")
        return wrong


def _edge(winner: Edit, made: Sequence[Edit]) -> Edit | None:
    """The hub's edit wins only over what was made before it."""
    if winner.node != "hub":
        return None
    later = [edit for edit in made if edit.node != "hub" and edit.accepted]
    return next((edit for edit in later if edit.at > winner.at), None)


def _newest(winner: Edit, made: Sequence[Edit]) -> Edit | None:
    """Nothing was made later, where a difference is told by clocks."""
    return next((edit for edit in made if edit.accepted and edit.at > winner.at + SAME_TIME), None)


def too_old(versions: Iterable[Stood]) -> list[str]:
    """Rows that were merged must be as late as both that are in them: the next edit is weighed against that."""
    by_place: dict[Place, list[Stood]] = {}
    for version in sorted(versions, key=lambda each: each.rev):
        by_place.setdefault(version.place, []).append(version)
    wrong: list[str] = []
    for place, its in by_place.items():
        for index, taken in enumerate(its):
            if taken.why != "merged":
                continue
            before = [each for each in its[:index] if each.was_row][-1:]
            after = next((each for each in its[index:] if each.was_row), None)
            if after is not None and any(each.clock > after.clock for each in (*before, taken)):
                wrong.append(f"row {place} at {after.rev} is older than what was merged into it")
    return wrong


def differences(name: str, own: Mapping[Place, str], hub: Mapping[Place, str]) -> list[str]:
    """Where the rows of node `name` are not the hub's."""
    return [
        f"{name} has {own.get(place)} as {place}, the hub {hub.get(place)}"
        for place in sorted(own.keys() | hub.keys())
        if own.get(place) != hub.get(place)
    ]


def unshown(
    waiting: Iterable[tuple[Place, str]], shown: Mapping[str, Collection[Place]]
) -> list[str]:
    """Edits that wait for a person, and whose node does not say so; both by the node's name."""
    return [
        f"{name} does not show that its edit of {place} waits"
        for place, name in waiting
        if name in shown and place not in shown[name]
    ]
