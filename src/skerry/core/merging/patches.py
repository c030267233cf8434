"""Patches: what changed between two versions of a body, as a JSON list of steps that are taken one after the other.

    [path, value]                   set the field, or the element of a list, at `path`
    [path]                          remove the field at `path`
    [path, at, count, replacement]  replace `count` elements of the list, or characters of the text, at `path` from `at` on

A path is a list of keys and, within lists, of numbers from 0. `apply(base, diff(base, now))` is `now` to the byte.
"""

from __future__ import annotations

from skerry.core.merging.bodies import (
    MAX_DEPTH,
    Body,
    Value,
    check_depth,
    decoded,
    encoded,
    value_of,
)
from skerry.core.merging.sequences import Hunk, hunks
from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line

Path = list[Value]
Step = list[Value]

MAX_STEPS = 1000
"""More changes are sent as a whole: each step may move all that follows it."""

_LEVELS = 2
"""So much deeper than a body its patch may be: the list of steps, and the step."""


def diff(base: bytes, now: bytes) -> bytes | None:
    """The patch from `base` to `now`, both canonical; None where it would not be smaller than `now`."""
    if base == now:
        return b"[]"
    steps = _object_steps([], decoded(base), decoded(now))
    if steps is None or len(steps) > MAX_STEPS:
        return None
    patch = encoded(list(steps))
    return patch if len(patch) < len(now) else None


def apply(base: bytes, patch: bytes) -> bytes:
    """The canonical body that `patch` makes of `base`. Raises InvalidInput when it is no patch, or not one for `base`."""
    steps = value_of(patch, "patch", MAX_DEPTH + _LEVELS)
    if type(steps) is not list or len(steps) > MAX_STEPS:
        raise InvalidInput(f"cannot apply patch: it is not a list of at most {MAX_STEPS} steps")
    body = decoded(base)
    for step in steps:
        _take(step, body)
    check_depth(body, "patched body")
    return encoded(body)


def _steps(path: Path, base: Value, now: Value) -> list[Step]:
    """Steps that turn the value at `path` into `now`, to the order of keys."""
    if encoded(base) == encoded(now):
        return []
    inner: list[Step] | None = None
    if type(base) is dict and type(now) is dict:
        inner = _object_steps(path, base, now)
    elif type(base) is list and type(now) is list:
        inner = _list_steps(path, base, now)
    elif type(base) is str and type(now) is str:
        inner = _text_steps(path, base, now)
    whole: list[Step] = [[path, now]]
    if inner is None or len(encoded(list(inner))) >= len(encoded(list(whole))):
        return whole
    return inner


def _object_steps(path: Path, base: Body, now: Body) -> list[Step] | None:
    """None when steps by field would leave the keys in another order than `now` has."""
    kept = [key for key in base if key in now]
    if kept + [key for key in now if key not in base] != list(now):
        return None
    steps: list[Step] = [[[*path, key]] for key in base if key not in now]
    for key, value in now.items():
        if key in base:
            steps += _steps([*path, key], base[key], value)
        else:
            steps.append([[*path, key], value])
    return steps


def _list_steps(path: Path, base: list[Value], now: list[Value]) -> list[Step]:
    steps: list[Step] = []
    for start, end, new_start, new_end in reversed(
        hunks([encoded(one) for one in base], [encoded(one) for one in now])
    ):
        if end - start == new_end - new_start:
            for offset in range(end - start):
                steps += _steps(
                    [*path, start + offset], base[start + offset], now[new_start + offset]
                )
        else:
            steps.append([path, start, end - start, now[new_start:new_end]])
    return steps


def _text_steps(path: Path, base: str, now: str) -> list[Step]:
    lines, new_lines = base.splitlines(keepends=True), now.splitlines(keepends=True)
    places, new_places = _starts(lines), _starts(new_lines)
    return [
        _text_step(
            path, base, now, Hunk(places[start], places[end], new_places[new], new_places[new_end])
        )
        for start, end, new, new_end in reversed(hunks(lines, new_lines))
    ]


def _starts(lines: list[str]) -> list[int]:
    """Where each line begins, and where the last one ends."""
    places = [0]
    for line in lines:
        places.append(places[-1] + len(line))
    return places


def _text_step(path: Path, base: str, now: str, hunk: Hunk) -> Step:
    """The replacement of a stretch of characters, without what is equal at its ends."""
    start, end, new_start, new_end = hunk
    old, new = base[start:end], now[new_start:new_end]
    head = _equal_head(old, new)
    tail = _equal_head(old[head:][::-1], new[head:][::-1])
    return [path, start + head, len(old) - head - tail, new[head : len(new) - tail]]


def _equal_head(one: str, other: str) -> int:
    """With how many characters both begin."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _take(step: Value, body: Body) -> None:
    match step:
        case [[*path, last], value]:
            _set(_at(body, path), last, value)
        case [[*path, last]]:
            _remove(_at(body, path), last)
        case [[*path, last], int(at), int(count), str() | list() as replacement]:
            _splice(_at(body, path), last, (at, count), replacement)
        case _:
            raise InvalidInput("cannot apply patch: it has a step of an unknown form")


def _at(body: Body, path: Path) -> Value:
    value: Value = body
    for key in path:
        value = _child(value, key)
    return value


def _child(container: Value, key: Value) -> Value:
    if type(container) is dict and type(key) is str and key in container:
        return container[key]
    if type(container) is list and type(key) is int and 0 <= key < len(container):
        return container[key]
    raise _unfit(key)


def _set(container: Value, key: Value, value: Value) -> None:
    match container, key:
        case dict() as fields, str(name):
            fields[name] = value
        case list() as elements, int(index) if 0 <= index < len(elements):
            elements[index] = value
        case _:
            raise _unfit(key)


def _remove(container: Value, key: Value) -> None:
    match container, key:
        case dict() as fields, str(name) if name in fields:
            del fields[name]
        case _:
            raise _unfit(key)


def _splice(container: Value, key: Value, span: tuple[int, int], replacement: Value) -> None:
    at, count = span
    match _child(container, key), replacement:
        case str(text), str(new) if 0 <= at <= at + count <= len(text):
            _set(container, key, text[:at] + new + text[at + count :])
        case list() as elements, list() as new if 0 <= at <= at + count <= len(elements):
            elements[at : at + count] = new
        case _:
            raise _unfit(key)


def _unfit(key: Value) -> InvalidInput:
    shown = one_line(encoded(key).decode())
    return InvalidInput(f"cannot apply patch: it does not fit its base at «{shown}»")
