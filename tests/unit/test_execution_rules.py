"""What can be asked for with `skerry exec`, and what is said of it."""

from __future__ import annotations

import pytest

from skerry.core.execution_rules import (
    checked,
    checked_size,
    exit_code,
    in_words,
    program_of,
    read_wish,
)
from skerry.kit.errors import InvalidInput
from skerry.wire.codec import encode
from skerry.wire.executions import Ending, Size, Wish


def test_a_wish_survives_its_way() -> None:
    wish = Wish(["ls", "-l", "ä\n"], stdin=True, tty=True, size=Size(24, 80), term="xterm-256color")
    assert read_wish(encode(wish)) == wish


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish([]), "there is none"),
        (Wish([""]), "there is none"),
        (Wish(["a\0b"]), "NUL"),
        (Wish(["a" * 40_000, "b" * 40_000]), "by stdin"),
        (Wish(["a"], size=Size(-1, 5)), "is none"),
        (Wish(["a"], size=Size(5, 4097)), "is none"),
    ],
)
def test_what_is_none_is_refused(wish: Wish, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        checked(wish)


def test_a_giant_is_refused_before_it_is_read() -> None:
    with pytest.raises(InvalidInput, match="by stdin"):
        read_wish("[" * 300_000)


def test_a_terminal_is_of_a_kind() -> None:
    assert (
        checked(Wish(["a"], tty=True, term="screen.xterm-256color")).term == "screen.xterm-256color"
    )
    for odd in ("", "x\ny", "$(id)", "x" * 41):
        assert checked(Wish(["a"], tty=True, term=odd)).term == "xterm"
    assert checked_size(Size()) == Size()


def test_endings_in_words_and_as_shells_number_them() -> None:
    assert (in_words(Ending(3)), exit_code(Ending(3))) == ("exit code 3", 3)
    assert (in_words(Ending(None, 9)), exit_code(Ending(None, 9))) == ("ended by signal 9", 137)
    assert (in_words(Ending()), exit_code(Ending())) == ("ended", 1)
    assert in_words(None) == "cut off"


def test_neither_logs_nor_tracebacks_have_arguments() -> None:
    wish = Wish(["/usr/bin/mysql", "-pcanary"])
    assert program_of(wish) == "mysql"
    assert "canary" not in repr(wish)
