"""What a client may have the broker keep."""

from skerry.gate.fields import text_of
from skerry.gate.packets import Connect
from skerry.gate.sessions import MOST_BYTES, MOST_FILTERS, MOST_SESSIONS, Filters, Sessions

DAY = b"\x11\0\1\x51\x80"
QUOTA = b"\x21\0\5"


def connect(level: int = 5, properties: bytes = DAY, *, clean: bool = False) -> Connect:
    return Connect(level, clean, 60, properties, "c", None, None, None)


def unsubscribe(*topics: str) -> bytes:
    return b"\0\1\0" + b"".join(map(text_of, topics))


def test_so_many_sessions_of_a_token_outlast_their_connections() -> None:
    sessions = Sessions()
    old, new = connect(4, b""), connect(5, QUOTA + DAY)
    for number in range(MOST_SESSIONS):
        assert sessions.begun("a", f"n{number}", new)[0] == new
    assert sessions.begun("a", "n3", new)[0] == new
    assert sessions.begun("a", "more", new)[0] == connect(5, QUOTA)
    assert sessions.begun("a", "more", old)[0] == connect(4, b"", clean=True)
    assert sessions.begun("b", "more", old)[0] == old
    for brief in (connect(4, b"", clean=True), connect(5, b"")):
        assert sessions.begun("a", "more", brief)[0] == brief


def test_a_session_has_so_many_filters_over_all_its_connections() -> None:
    sessions = Sessions()
    _, first = sessions.begun("a", "n", connect())
    assert all(first.take(f"t/{number}") for number in range(MOST_FILTERS))
    _, again = sessions.begun("a", "n", connect(properties=b""))
    assert again.take("t/3")
    assert not again.take("more")
    again.leave(unsubscribe("t/3", "unknown"), 5)
    assert again.take("more")
    _, anew = sessions.begun("a", "n", connect(clean=True))
    assert anew.take("yet more")
    assert sessions.begun("a", "other", connect(properties=b""))[1].take("yet more")


def test_filters_have_so_many_bytes() -> None:
    filters = Filters()
    half = "x" * (MOST_BYTES // 2)
    assert filters.take(half)
    assert filters.take(half[:-1] + "y")
    assert not filters.take("z")
    filters.leave(unsubscribe(), 5)
