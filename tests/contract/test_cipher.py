"""One suite for every cipher: what goes in comes out, in its own place; and what each promises about secrecy."""

import itertools

import pytest
from tests.sealing_rig import key, sealing_cipher

from skerry.kit.errors import Corrupt
from skerry.kit.sealing.cipher import Cipher, KeyMissing, NullCipher, Place
from skerry.kit.sealing.format import OVERHEAD, bound_to, bounds, is_sealed, key_id_of
from skerry.kit.sealing.sealed import SealingCipher, in_force

HERE = Place("state", "body", ("twin", "t1"))
BODIES = (b"", b"{}", b'{"canary":"c4n4ry"}', bytes(range(256)) * 300, "ა".encode())
SEALING = {
    "AES-256-GCM": lambda: sealing_cipher(key(7)),
    "ChaCha20-Poly1305": lambda: sealing_cipher(key(7, algorithm="ChaCha20-Poly1305")),
}
ALL = {"null": NullCipher, **SEALING}


@pytest.fixture(params=ALL)
def cipher(request: pytest.FixtureRequest) -> Cipher:
    return ALL[request.param]()  # type: ignore[no-any-return]


@pytest.fixture(params=SEALING)
def sealing(request: pytest.FixtureRequest) -> SealingCipher:
    return SEALING[request.param]()


def test_what_was_sealed_opens_in_its_place(cipher: Cipher) -> None:
    for body in BODIES:
        sealed = cipher.seal(body, HERE)
        assert cipher.open(sealed, HERE) == body
        assert cipher.is_current(sealed)
        assert is_sealed(sealed) == cipher.seals


def test_many_rows_are_sealed_as_one_by_one(cipher: Cipher) -> None:
    within = Place("shared_row", "body", ("recipe",))
    rows = [(f"ა{number}", body) for number, body in enumerate(BODIES)]
    sealed = cipher.seal_rows(rows, within)
    names = [name for name, _ in rows]
    assert [
        cipher.open(each, within.at(name)) for name, each in zip(names, sealed, strict=True)
    ] == list(BODIES)
    one_by_one = [(name, cipher.seal(body, within.at(name))) for name, body in rows]
    assert cipher.open_rows(one_by_one, within) == list(BODIES)


@pytest.mark.parametrize("word", ["row", "ა", "\ud800"], ids=["ascii", "georgian", "surrogate"])
def test_many_rows_with_two_words_of_their_own_are_sealed_as_one_by_one(
    cipher: Cipher, word: str
) -> None:
    within = Place("shared_row", "body", ("recipe",))
    rows = [((word, str(number)), body) for number, body in enumerate(BODIES)]
    sealed = cipher.seal_rows(rows, within)
    names = [names for names, _ in rows]
    again = list(zip(names, sealed, strict=True))
    assert [cipher.open(each, within.at(name)) for name, each in again] == list(BODIES)
    assert cipher.open_rows(again, within) == list(BODIES)


def test_many_rows_take_a_nonce_each() -> None:
    sealing, within = sealing_cipher(key(1)), Place("shared_row", "body", ("recipe",))
    rows = [(("a", str(number)), b"{}") for number in range(3)]
    sealed = [
        *sealing.seal_rows(rows, within), sealing.seal(b"{}", within), *sealing.seal_rows(rows, within),
    ]  # fmt: skip
    assert len({each[6:18] for each in sealed}) == 7
    assert sealing.now.sealing.used == 7


def test_of_many_rows_each_opens_under_its_own_key_and_in_its_own_place() -> None:
    within = Place("shared_row", "body", ("recipe",))
    older, newer = sealing_cipher(key(1)), sealing_cipher(key(2))
    both = SealingCipher(in_force((key(2), key(1)), None, plain=True))
    rows = [
        ("a", older.seal(b"1", within.at("a"))),
        ("b", newer.seal(b"2", within.at("b"))),
        ("c", b"{}"),
    ]
    assert both.open_rows(rows, within) == [b"1", b"2", b"{}"]
    with pytest.raises(Corrupt, match="not sealed, as everything here must be"):
        newer.open_rows([("c", b"{}")], within)
    for wrong in (("b", rows[0][1]), ("a", rows[1][1]), ("b", rows[1][1][:20])):
        with pytest.raises(Corrupt, match=r"shared_row\.body of recipe"):
            both.open_rows([wrong], within)


def test_the_form_is_the_documented_one(sealing: SealingCipher) -> None:
    sealed = sealing.seal(b"x" * 100, HERE)
    assert sealed[:6] == b"\xe1\x01\x00\x00\x00\x07"
    assert key_id_of(sealed) == 7
    assert len(sealed) == 100 + OVERHEAD
    assert b"xxx" not in sealed


@pytest.mark.parametrize(
    "elsewhere",
    [
        Place("state", "body", ("twin", "t2")),
        Place("state", "body", ("twint", "1")),
        Place("state", "body", ("twin", "t1", "")),
        Place("state", "other", ("twin", "t1")),
        Place("frozen", "body", ("twin", "t1")),
    ],
)
def test_a_body_opens_nowhere_else(sealing: SealingCipher, elsewhere: Place) -> None:
    with pytest.raises(Corrupt, match="not what was sealed there"):
        sealing.open(sealing.seal(b"secret", HERE), elsewhere)


def test_every_changed_bit_and_every_cut_is_noticed(sealing: SealingCipher) -> None:
    sealed = sealing.seal(b"secret", HERE)
    for bit in range(8 * len(sealed)):
        bad = bytearray(sealed)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt):
            sealing.open(bytes(bad), HERE)
    for size in range(len(sealed)):
        with pytest.raises(Corrupt):
            sealing.open(sealed[:size], HERE)


def test_places_are_told_apart_byte_by_byte() -> None:
    words = [("a", "b"), ("ab", ""), ("", "ab"), ("ab",), ("a\0b",), ("a", "\0b")]
    bound = [bound_to(1, each) for each in words]
    assert len(set(bound)) == len(words)
    assert bound_to(1, ("a",)) != bound_to(2, ("a",))


def test_a_plain_body_is_refused_unless_it_may_be_from_before() -> None:
    assert sealing_cipher(plain=True).open(b"{}", HERE) == b"{}"
    assert not sealing_cipher(plain=True).is_current(b"{}")
    with pytest.raises(Corrupt, match="not sealed, as everything here must be"):
        sealing_cipher().open(b"{}", HERE)


def test_without_keys_a_sealed_body_is_no_damage(sealing: SealingCipher) -> None:
    with pytest.raises(KeyMissing, match="encryption.storage.enabled"):
        NullCipher().open(sealing.seal(b"x", HERE), HERE)


def test_a_retired_key_opens_and_does_not_seal() -> None:
    old = key(1)
    cipher = sealing_cipher(old)
    before = cipher.seal(b"x", HERE)
    retired = type(old)(1, "store", "AES-256-GCM", 0, old.secret, 0, retired=True)
    cipher.install(in_force([retired, key(2)], cipher.now, plain=False))
    assert cipher.open(before, HERE) == b"x"
    assert not cipher.is_current(before)
    assert key_id_of(cipher.seal(b"x", HERE)) == 2
    cipher.install(in_force([key(2)], cipher.now, plain=False))
    with pytest.raises(Corrupt, match="not on the key ring"):
        cipher.open(before, HERE)


def nonces(count: int) -> None:
    """Three processes' worth of one key, each with ring changes in between."""
    seen: set[bytes] = set()
    for _ in range(3):
        cipher = sealing_cipher(key(1))
        for number in range(count // 3):
            if number % 10_000 == 0:
                cipher.install(in_force([key(1)], cipher.now, plain=False))
            seen.add(cipher.seal(b"", HERE)[6:18])
    assert len(seen) == count // 3 * 3


def test_no_nonce_twice() -> None:
    nonces(60_000)


@pytest.mark.soak
def test_no_nonce_twice_in_a_million() -> None:
    nonces(1_000_002)


def test_a_key_that_has_served_seals_no_more() -> None:
    cipher = sealing_cipher(key(1))
    cipher.now.sealing.numbers = itertools.count(2**32 - 1)
    cipher.seal(b"", HERE)
    with pytest.raises(Exception, match="has served"):
        cipher.seal(b"", HERE)


@pytest.mark.parametrize(
    "ends",
    [
        [("a", "1"), ("bb", "22")], ["a", "", "ccc"], [("a", "1"), ("ა", "2")], ["ა"], [("a", "1"), "b", ("c",)], [],
    ],
    ids=["pairs", "words", "one not ASCII", "none ASCII", "of different lengths", "none"],
)  # fmt: skip
@pytest.mark.parametrize(
    "words", [("shared_row", "body"), ("ს", "b"), ()], ids=["ascii", "not", "no"]
)
def test_what_many_rows_are_bound_to_is_what_each_is(
    words: tuple[str, ...], ends: list[str | tuple[str, ...]]
) -> None:
    each = [(end,) if isinstance(end, str) else end for end in ends]
    assert bounds(7, words, ends) == [bound_to(7, (*words, *end)) for end in each]
