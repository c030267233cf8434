"""Secrets in what workloads print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.keeper.log_rules import LogRules, rules_of, secrets_of
from skerry.keeper.masks import Masks
from skerry.keeper.protocol import decode, encode

KNOWN = Masks(LogRules(1000, 1, known=True))


@pytest.mark.guarantee("G10")
@pytest.mark.parametrize(
    ("printed", "written"),
    [
        ("password=hunter2", "password=***"),
        ("PASSWORD: hunter2 rest", "PASSWORD: *** rest"),
        ("db_passwd='a b c' host=x", "db_passwd='***' host=x"),
        ('{"password": "a \\"b\\" c", "n": 1}', '{"password": "***", "n": 1}'),
        ('"{\\"token\\":\\"abc\\"}"', '"{\\"token\\":\\"***\\"}"'),
        ("secret_access_key = wJalrXUtnFEMI/K7MDENG", "secret_access_key = ***"),
        ("client-secret=>abc, next", "client-secret=>***, next"),
        ("?token=abc&x=1", "?token=***&x=1"),
        ("X-Api-Key: 0123", "X-Api-Key: ***"),
        ("api_key2=0123 apikey=0123", "api_key2=*** apikey=***"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic ***"),
        ("sent bearer eyJhbGciOi.eyJzdWIi.c2ln", "sent bearer ***"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key *** used"),
        ("amqp://user:pa:ss@host/v", "amqp://user:***@host/v"),
        ("https://:pass@host", "https://:***@host"),
        ("password=a password=b\nsecret=c", "password=*** password=***\nsecret=***"),
        ("uid=sa;pwd=hunter2;db=x", "uid=sa;pwd=***;db=x"),
        ("DB_PWD: hunter2 rest", "DB_PWD: *** rest"),
        ("passphrase: correct horse, it's it\nnext", "passphrase: ***\nnext"),
        ("key_passphrase = correct horse\r\n", "key_passphrase = ***\r\n"),
        ("passphrase: 'a b' for x", "passphrase: '***' for x"),
        ("?passphrase=abc&x=1", "?passphrase=***&x=1"),
        ('{"msg": "passphrase: a b", "n": 1}', '{"msg": "passphrase: ***", "n": 1}'),
        ('"say \\"passphrase: a\\b c\\" now"', '"say \\"passphrase: ***\\" now"'),
        ("run --password hunter2 --host x", "run --password *** --host x"),
        ("run --db-password 'a b' --TOKEN  abc", "run --db-password '***' --TOKEN  ***"),
        ("['x', '--password', 'hunter2', '-v']", "['x', '--password', '***', '-v']"),
        ('["--api-key","0123"]', '["--api-key","***"]'),
        ("--secret-key abc --passphrase=abc", "--secret-key *** --passphrase=***"),
    ],
)
def test_known_forms(printed: str, written: str) -> None:
    once = KNOWN.apply(printed.encode())
    assert once.decode() == written
    assert KNOWN.apply(once) == once


@pytest.mark.parametrize(
    "harmless",
    [
        "prompt_tokens=512 tokenizer=bpe",
        "the password is wrong",
        "password=",
        'password=""',
        "monkey=3 key=4",
        "bearer of good news",
        "http://host:80/a@b",
        "mail to a@b.c, see http://b.c/",
        "tokens per second: 14.2",
        "PWD=/srv/app OLDPWD=/root",
        "the passphrase is wrong",
        "Enter passphrase for key '/root/.ssh/id': ",
        "use --password to log in, or --token; --password is required",
        "docker login --password-stdin registry --token-file ./token",
        "--no-password now",
        "mysql -p 3306",
    ],
)
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert KNOWN.apply(harmless.encode()).decode() == harmless


@pytest.mark.parametrize(
    ("pattern", "printed", "written"),
    [
        ("sk-*", "with sk-abc, and sk-def", "with sk-*** and sk-***"),
        ("id=*;", "id=12; id=13 id=14;x", "id=***; id=13 id=***;x"),
        ("<k>*</k>", "<k>1</k><k>2</k> <k>3", "<k>***</k><k>***</k> <k>3"),
        ("Jane Doe", "for Jane Doe.", "for ***."),
        ("a*b*c", "a1b2c a1b2", "a***b***c a1b2"),
        ("u-*", "u-", "u-***"),
    ],
)
def test_patterns(pattern: str, printed: str, written: str) -> None:
    masks = Masks(LogRules(1000, 1, patterns=[pattern]))
    assert masks.apply(printed.encode()).decode() == written


@pytest.mark.guarantee("G10")
def test_values_of_secret_variables() -> None:
    environment = {
        "DB_PASSWORD": "hunter2-long",
        "deploy_key": "-----BEGIN\nMIIEvAIBADAN\n",
        "API_TOKEN": "hunter2-long-er",
        "A_SECRET": "short",
        "UNLOCK_PASSPHRASE": "open sesame",
        "PLACE": "in the garden",
    }
    secrets = secrets_of(environment)
    assert secrets == [
        "hunter2-long-er", "MIIEvAIBADAN", "hunter2-long", "open sesame", "-----BEGIN",
    ]  # fmt: skip
    masks = Masks(LogRules(1000, 1, secrets=secrets))
    said = b"hunter2-long-er hunter2-long MIIEvAIBADAN in the garden"
    assert masks.apply(said) == b"*** *** *** in the garden"


@given(st.binary(max_size=200), st.lists(st.text("ab*= ", max_size=6), max_size=3))
def test_lines_stay_lines_and_nothing_fails(data: bytes, patterns: list[str]) -> None:
    masks = Masks(LogRules(1000, 1, known=True, patterns=patterns))
    assert masks.apply(data).count(b"\n") == data.count(b"\n")


@pytest.mark.parametrize(
    "nasty",
    [
        b"token" * 13000,
        b'password="' * 6500,
        b"://a:" * 13000,
        b"://" + b"a" * 65000,
        b"passwd-" * 9000,
        b"bearer " * 9000,
        b'password="' + b"\\" * 65000,
        b"aab" * 21000,
        b"pwd" * 350_000,
        b"pwd=" * 260_000,
        b"passphrase" * 100_000,
        b"passphrase: " + b"\\" * 1_000_000,
        b'passphrase = "' * 70_000,
        b"--password " * 95_000,
        b"--password '" * 90_000,
        b"--" + b"a-" * 500_000 + b"token x",
        b"-" * 1_000_000 + b"token" * 10_000,
        b"aa" * 32000,
        b"aa bb " * 10000,
    ],
)
@pytest.mark.timeout(5)
def test_no_output_makes_masking_slow(nasty: bytes) -> None:
    """A backtracking expression would need hours."""
    masks = Masks(LogRules(1000, 1, known=True, patterns=["aa*b*c", "aa*"]))
    assert masks.apply(nasty).count(b"\n") == 0


def test_rules_travel_and_their_repr_keeps_secrets() -> None:
    rules = LogRules(5, 2, 90.5, known=True, patterns=["a=*"], secrets=["hunter22", "ü=\udcff"])
    assert rules_of(decode(encode(rules.fields()))) == rules
    assert "hunter" not in repr(rules)
    plain = LogRules(5, 2)
    assert rules_of(decode(encode(plain.fields()))) == plain
