"""What a change makes of a row of a model: pure, for node and hub. See `wire.entities`.

Every body of a model has all fields that its program knows, so what a body lacks and the row has was written by another
version of the program: it stays.
"""

from __future__ import annotations

import msgspec

from skerry.core.entity_words import left_alone
from skerry.core.merging import Version, canonical, judge
from skerry.core.merging.bodies import Value, decoded, encoded, same
from skerry.core.merging.rules import Rules, rules_of
from skerry.core.names import entity_fault, row_id_fault
from skerry.kit.errors import InvalidInput, NotFound, Refused, TooLarge
from skerry.kit.one_line import one_line
from skerry.wire.entities import MAX_CHANGES, Change, Changes, Declare, Declared
from skerry.wire.shared import DECLARATIONS, MAX_ROW, Declaration


class Now(msgspec.Struct, frozen=True):
    """A row as it is; `body` None: there is none."""

    body: bytes | None = None
    revision: int = 0


def check_entity(entity: str) -> None:
    """Raises InvalidInput for what cannot be the name of an entity of one's own."""
    fault = entity_fault(entity)
    if fault or entity == DECLARATIONS:
        raise InvalidInput(
            f"cannot declare entity «{one_line(entity[:64])}»: {fault or 'declarations themselves are called so'}. "
            "Give it another name."
        )


def check_changes(entity: str, asked: Changes) -> None:
    """Raises InvalidInput for too many changes, two of one row, and ids that are none; Refused for rows that declare."""
    if entity == DECLARATIONS:
        raise Refused(
            f"cannot change rows of «{entity}»: they declare entities. Declare an entity instead."
        )
    if len(asked.changes) > MAX_CHANGES:
        raise InvalidInput(
            f"cannot change {len(asked.changes)} rows of «{entity}» at once: at most {MAX_CHANGES} are. Send them in pieces."
        )
    seen: set[str] = set()
    for each in asked.changes:
        if fault := row_id_fault(each.id):
            raise InvalidInput(f"cannot {each.kind} row of «{entity}»: {fault}")
        if each.id in seen:
            raise InvalidInput(f"{_cannot(entity, each)}: it comes twice in one request")
        seen.add(each.id)


def kept_body(entity: str, row_id: str, body: bytes) -> bytes:
    """The body as it is stored and sent. Raises InvalidInput for what is none, TooLarge for one that no hub would take."""
    found = canonical(body)
    if len(found) > MAX_ROW:
        raise TooLarge(
            f"cannot write row «{one_line(row_id)}» of «{one_line(entity)}»: it would have {len(found)} bytes, "
            f"at most {MAX_ROW} are kept. Divide it into several rows."
        )
    return found


def was_made(
    entity: str, declaration: Declaration, change: Change, now: Now, *, waits: bool
) -> bool:
    """Whether the change, to which an answer was lost, has been made already. `waits`: an edit does for a decision on the row.

    Raises Refused where that cannot be told: the row was changed by others as well, and a second time would add or take
    away what the first one did.
    """
    if change.kind == "settle":  # a second time would decide of edits that came after the first
        return not waits and is_done(declaration, bytes(change.body), now)
    body = None if change.kind == "delete" else bytes(change.body)
    if is_done(declaration, body, now):
        return True
    edit = edit_of(declaration, change)
    if edit is None or now.body is None or change.read is None:
        return False
    if change.read.revision == now.revision:
        return False
    if is_same(meet(declaration, edit[0], now.body, edit[1]), now.body):
        return True
    raise Refused(
        f"{_cannot(entity, change)}: no answer came to it, and the row has changed since, so it may have been made already. "
        "Read the row again."
    )


def new_body(entity: str, declaration: Declaration, change: Change, now: Now) -> bytes | None:
    """The row's body after the change; None: no row. `now.body` itself where nothing changes.

    Raises Refused when there is a row to be created, or another revision than expected; NotFound for one to be updated;
    InvalidInput without a body.
    """
    body = None if change.kind == "delete" or bytes(change.body) == b"null" else bytes(change.body)
    if body is None and change.kind != "delete":
        raise InvalidInput(f"{_cannot(entity, change)}: it has no body")
    if change.kind == "create" and now.body is not None:
        raise Refused(f"{_cannot(entity, change)}: there is one. Update it.")
    if change.kind == "update" and now.body is None:
        raise NotFound(
            f"{_cannot(entity, change)}: there is none, or it was deleted meanwhile. Create it."
        )
    if change.expected is not None and change.expected != now.revision:
        is_now = "there is none" if now.body is None else f"it is at {now.revision}"
        raise Refused(
            f"{_cannot(entity, change)}: it is not at revision {change.expected}, {is_now}. Read it again."
        )
    if body is None or now.body is None:
        return body
    if change.read is None or change.read.revision == now.revision or change.kind == "settle":
        after = keep_unknown(declaration, now.body, body)
    else:
        before = bytes(change.read.body)
        after = meet(declaration, before, now.body, keep_unknown(declaration, before, body))
    return now.body if is_same(after, now.body) else after


def _cannot(entity: str, change: Change) -> str:
    return f"cannot {change.kind} row «{one_line(change.id)}» of «{one_line(entity)}»"


def is_done(declaration: Declaration, body: bytes | None, now: Now) -> bool:
    """Whether the row is what a change makes of it already."""
    if body is None or now.body is None:
        return body is now.body
    return is_same(keep_unknown(declaration, now.body, body), now.body)


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two bodies say the same."""
    return one == other or same(decoded(one), decoded(other))


def edit_of(declaration: Declaration, change: Change) -> tuple[bytes, bytes] | None:
    """What an update was made on, and what it is then; None when that is not said, or it changes nothing."""
    if change.read is None or change.kind not in {"update", "put"}:
        return None
    before = bytes(change.read.body)
    edit = keep_unknown(declaration, before, bytes(change.body))
    return None if is_same(before, edit) else (before, edit)


def meet(declaration: Declaration, before: bytes, now: bytes, edit: bytes) -> bytes:
    """An edit that was made on `before`, when another program of the same side made the row `now`.

    With the strategy «merge» it is both together, field by field, the later one where values meet; else the later one.
    An edit that says what was there before changes nothing.
    """
    if is_same(before, edit):
        return now
    if declaration.strategy != "merge":
        return edit
    fields = msgspec.structs.replace(declaration, fallback="last_modified")
    base, held, made = (
        Version(n, n, "here", body=each) for n, each in enumerate((before, now, edit), 1)
    )
    return judge(fields, base, held, made).version.body  # fmt: skip


def keep_unknown(declaration: Declaration, held: bytes, body: bytes) -> bytes:
    """`body` with the fields of `held` that it lacks, in objects inside it, too; `held` itself where that says the same.

    Elements of lists are the same by their key (`Declaration.keys`, or «id»), without one when all known fields are equal.
    """
    before = decoded(held)
    value = _kept(rules_of(declaration), before, decoded(body))
    return held if same(value, before) else encoded(value)


def _kept(rules: Rules, held: Value, now: Value) -> Value:
    if isinstance(held, dict) and isinstance(now, dict):
        both = {
            name: _kept(rules.below(name), held[name], value)
            if isinstance(value, dict | list) and name in held
            else value
            for name, value in now.items()
        }
        return both | {name: value for name, value in held.items() if name not in now}
    if isinstance(held, list) and isinstance(now, list):
        return [_element(rules, held, each) for each in now]
    return now


def _element(rules: Rules, held: list[Value], now: Value) -> Value:
    if not isinstance(now, dict):
        return now
    key = now.get(rules.key)
    for each in held:
        if not isinstance(each, dict):
            continue
        if key is None:
            known = {name: each.get(name) for name in now}
            if same(known, now):
                return each
        elif each.get(rules.key) == key:
            return _kept(rules.element, each, now)
    return now


def together(entity: str, held: Declared, asked: Declare) -> Declaration:
    """The declaration from now on: `asked` itself where it replaces, else with the rules and keys of both.

    A program of before does not know of fields that were added, so rules and keys that only one of them has are no
    contradiction, nor is what the hub's settings say. Raises InvalidInput for what is, naming both.
    """
    if held.local != asked.local:
        raise InvalidInput(
            f"cannot declare entity «{entity}» as {_where(asked.local)}: it is declared as {_where(held.local)}. "
            "Use another name, or the same edge_enabled everywhere."
        )
    if asked.replace:
        return asked.declaration
    here = held.declaration
    there = left_alone(here.settled, here, asked.declaration)
    both = msgspec.structs.replace(
        there,
        fields={**here.fields, **there.fields},
        keys={**here.keys, **there.keys},
        settled=here.settled,
    )
    if differing := _differing(here, both):
        raise InvalidInput(
            f"cannot declare entity «{entity}» otherwise than it is declared: {', '.join(differing)}. "
            "Declare it alike in all programs, or replace the declaration by «declare(replace=True)»."
        )
    return both


def _differing(here: Declaration, there: Declaration) -> list[str]:
    """What is declared otherwise there, in words; more rules and keys are nothing."""
    pairs: list[tuple[str, object, object]] = []
    for name in Declaration.__struct_fields__:
        one, other = getattr(here, name), getattr(there, name)
        if isinstance(one, dict):
            pairs += [(f"{name} «{path}»", one[path], other[path]) for path in one]
        else:
            pairs.append((name, one, other))
    return [f"{name} «{other}» instead of «{one}»" for name, one, other in pairs if one != other]


def _where(local: bool) -> str:  # noqa: FBT001 - which of two words
    return "local to the node" if local else "shared (edge_enabled)"
