"""«KEY=VALUE» words of the command line, for `--label` and `--set`."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.kit.errors import InvalidInput


def read_assignments(words: Sequence[str], option: str, example: str) -> dict[str, str]:
    """The values by their keys; the last one of a key holds. Raises InvalidInput naming `option`."""
    found = [word.partition("=") for word in words]
    wrong = [
        word for word, (key, equals, _) in zip(words, found, strict=True) if not (key and equals)
    ]
    if wrong:
        raise InvalidInput(
            f"cannot read {option} {wrong[0]}: write KEY=VALUE, for example {example}"
        )
    return {key: value for key, _, value in found}
