"""What the broker keeps for a token's clients has a bound, and is given back."""

import pytest

from skerry.gate import SESSION_SECONDS
from skerry.gate.fields import integer_of
from skerry.gate.packets import Connect
from skerry.gate.sessions import MOST_FILTERS, MOST_LASTING, Session, Sessions

BROKER_LATE = 10


class Kept:
    """Sessions, and the time, which is the test's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sessions = Sessions(lambda: self.now)

    def open(
        self,
        name: str,
        *,
        level: int = 5,
        clean: bool = True,
        expiry: int | None = None,
        token: str = "a",  # noqa: S107 - whose
    ) -> Session | None:
        properties = b"" if expiry is None else b"\x11" + expiry.to_bytes(4, "big")
        properties = b"\x21\0\5" + properties
        assert len(integer_of(len(properties))) == 1
        asked = Connect(level, clean, 0, properties if level == 5 else b"", "", None, None, None)
        return self.sessions.open(token, name, asked)

    def opened(self, name: str, *, clean: bool = True, expiry: int | None = None) -> Session:
        session = self.open(name, clean=clean, expiry=expiry)
        assert session
        return session


@pytest.mark.parametrize(
    ("level", "clean", "expiry", "lasts"),
    [
        (5, True, None, False),
        (5, False, None, False),
        (5, True, 0, False),
        (5, True, 1, True),
        (5, True, 0xFFFFFFFF, True),
        (4, True, None, False),
        (4, False, None, True),
    ],
)
def test_which_sessions_last(level: int, clean: bool, expiry: int | None, lasts: bool) -> None:
    session = Kept().open("x", level=level, clean=clean, expiry=expiry)
    assert session
    assert session.lasts is lasts


def test_so_many_last_and_no_more_until_one_has_ended() -> None:
    kept = Kept()
    held = [kept.opened(f"n{number}", expiry=2**32 - 1) for number in range(MOST_LASTING)]
    assert kept.open("more", expiry=60) is None
    assert kept.open("more", level=4, clean=False) is None
    assert kept.open("passing")
    assert kept.open("more", expiry=60, token="another")
    held[0] = kept.opened("n0", expiry=2**32 - 1)
    kept.sessions.close("a", "n0", held[0])
    kept.now += SESSION_SECONDS - 1
    assert kept.open("more", expiry=60) is None
    kept.now += 1 + BROKER_LATE
    assert kept.open("more", expiry=60)


def test_who_asks_for_less_has_room_again_sooner() -> None:
    """As a client that has another name each time it comes."""
    kept = Kept()
    for number in range(10 * MOST_LASTING):
        kept.sessions.close("a", f"n{number}", kept.opened(f"n{number}", expiry=60))
        kept.now += (60 + BROKER_LATE) / MOST_LASTING


@pytest.mark.parametrize(
    ("expiry", "farewell", "seconds"),
    [
        (60, b"", 60),
        (60, b"\0", 60),
        (60, b"\0\0", 60),
        (60, b"\0\5\x11\0\0\0\0", 0),
        (60, b"\0\5\x11\0\0\0\x07", 7),
        (60, b"\0\5\x11\xff\xff\xff\xff", SESSION_SECONDS),
        (0, b"\0\5\x11\0\0\0\x07", 0),
    ],
)
def test_who_says_goodbye_may_say_for_how_long(expiry: int, farewell: bytes, seconds: int) -> None:
    session = Kept().opened("x", expiry=expiry)
    session.leave(farewell)
    assert session.seconds == seconds


def test_filters_count_over_all_sessions_of_a_token() -> None:
    kept = Kept()
    one, other = kept.opened("one"), kept.opened("other")
    many = [f"t{number}" for number in range(MOST_FILTERS)]
    assert kept.sessions.add("a", one, many[:-1])
    assert kept.sessions.add("a", one, many[:-1])
    assert kept.sessions.add("a", other, ["t0"])
    assert not kept.sessions.add("a", one, many)
    assert not kept.sessions.add("a", other, ["t1"])
    one.filters.discard("t0")
    assert kept.sessions.add("a", other, ["t1"])
    kept.sessions.close("a", "one", one)
    assert kept.sessions.add("a", other, many)


def test_what_lasts_keeps_its_filters_and_what_does_not_has_none() -> None:
    kept = Kept()
    for expiry, left in ((60, {"t"}), (0, set())):
        session = kept.opened("x", expiry=expiry)
        assert kept.sessions.add("a", session, ["t"])
        kept.sessions.close("a", "x", session)
        again = kept.opened("x", clean=False, expiry=expiry)
        assert again.filters == left
        assert kept.opened("x", expiry=expiry).filters == set()


def test_a_connection_that_was_taken_over_ends_nothing() -> None:
    kept = Kept()
    first = kept.opened("x", clean=False)
    assert kept.sessions.add("a", first, ["t"])
    second = kept.opened("x", clean=False)
    kept.sessions.close("a", "x", first)
    assert second.filters == {"t"}
    assert kept.sessions.add("a", second, ["u"])
    kept.sessions.close("a", "x", second)
    assert kept.sessions.add("a", first, ["late"])
