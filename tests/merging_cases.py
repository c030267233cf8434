"""Bodies, changes, declarations and versions of shared rows by chance: few names and values, so that changes meet often."""

import random
from collections.abc import Iterator, Sequence

import msgspec

from skerry.core.merging import NOTHING, Version
from skerry.wire.shared import Declaration, FieldRule

Json = dict[str, object]

NAMES = ("a", "b", "c", "d", "id", "a.b", "é")
RULES: tuple[FieldRule, ...] = ("lww", "max", "min", "sum", "union", "text", "edge")
FALLBACKS = ("last_modified", "central_wins", "edge_wins", "manual")
SCALARS: tuple[object, ...] = (
    None, True, False, -1, 0, 1, 2, 3, 2**70, -(2**63) - 1,
    0.0, -0.0, 1.0, 0.1, -2.5, 1e300, 1.7e308, 5e-324,
    "", "a", "b\nc", "a\nb\nc\nd", "a\nb\nx\nd", "x\na\nb\nc\nd", "é\0😀", "a.b",
)  # fmt: skip


def seeds(count: int) -> Iterator[random.Random]:
    """As many sources of chance, the same in each run."""
    for seed in range(count):
        yield random.Random(seed)


def any_value(rng: random.Random, depth: int = 3) -> object:
    match rng.randrange(8 if depth else 5):
        case 5:
            return [any_value(rng, depth - 1) for _ in range(rng.randrange(4))]
        case 6:
            return any_body(rng, depth - 1)
        case 7:
            names = rng.sample(range(5), rng.randrange(5))
            return [{"id": name, "a": any_value(rng, 0)} for name in names]
        case 4:
            return [rng.randrange(5) for _ in range(rng.randrange(5))]
        case _:
            return rng.choice(SCALARS)


def any_body(rng: random.Random, depth: int = 3) -> Json:
    return {name: any_value(rng, depth) for name in rng.sample(NAMES, rng.randrange(6))}


def any_change(rng: random.Random, base: Json) -> Json:
    """`base` after a few changes at any depth."""
    now: Json = msgspec.json.decode(msgspec.json.encode(base))
    for _ in range(rng.randrange(1, 4)):
        _change(rng, now)
    return now


def any_declaration(
    rng: random.Random, strategies: Sequence[str], fallbacks: Sequence[str]
) -> Declaration:
    paths = [*NAMES[:5], "*", "a.*", "*.*", "a.*.a", "*.b"]
    return msgspec.convert(
        {
            "strategy": rng.choice(strategies),
            "fallback": rng.choice(fallbacks),
            "fields": {rng.choice(paths): rng.choice(RULES) for _ in range(rng.randrange(5))},
        },
        Declaration,
    )


def any_meeting(rng: random.Random) -> tuple[Version | None, Version, Version]:
    """A base, and two versions made of it by different authors, by clocks that say anything."""
    before = any_body(rng)
    base = rng.choice([version(before, 1, 1, "n0")] * 4 + [None, NOTHING])
    authors = rng.sample(["", "n1", "n2"], 2)
    made = [None if rng.random() < 0.1 else any_change(rng, before) for _ in authors]
    held, edit = (
        version(body, rev, rng.randrange(4), author)
        for body, rev, author in zip(made, (2, 2), authors, strict=True)
    )
    return base, held, edit


def body(value: object) -> bytes:
    """`value` as a stored body."""
    return msgspec.json.encode(value)


def version(value: object, rev: int = 0, hlc: int = 0, origin: str = "") -> Version:
    """A version with this body; None is a deleted one."""
    if value is None:
        return Version(rev, hlc, origin, deleted=True)
    return Version(rev, hlc, origin, deleted=False, body=body(value))


def _change(rng: random.Random, value: object) -> None:
    """Changes one place of an object or a list, or one below it."""
    if isinstance(value, dict):
        name = rng.choice(NAMES)
        if isinstance(value.get(name), dict | list) and rng.random() < 0.7:
            _change(rng, value[name])
        elif rng.random() < 0.3:
            value.pop(name, None)
        else:
            value[name] = any_value(rng, 1)
    elif isinstance(value, list):
        if value and isinstance(value[-1], dict | list) and rng.random() < 0.5:
            _change(rng, value[-1])
        elif rng.random() < 0.3:
            rng.shuffle(value)
        elif rng.random() < 0.5 and value:
            del value[rng.randrange(len(value))]
        else:
            value.insert(rng.randrange(len(value) + 1), any_value(rng, 0))
