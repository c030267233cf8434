"""Secrets in what workloads print."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.secret_lines import MASKED, STAYS

from skerry.keeper.log_rules import LogRules, rules_of, secrets_of
from skerry.keeper.masks import Masks
from skerry.keeper.protocol import decode, encode

KNOWN = Masks(LogRules(1000, 1, known=True))
_MASKING = """
import json, sys
from skerry.keeper.log_rules import LogRules
from skerry.keeper.masks import Masks
masks = Masks(LogRules(1000, 1, known=True))
json.dump([masks.apply(line.encode()).decode() for line in json.load(sys.stdin)], sys.stdout)
"""


@pytest.mark.guarantee("G10")
@pytest.mark.parametrize(
    ("printed", "written"), [pair for pairs in MASKED.values() for pair in pairs]
)
def test_known_forms(printed: str, written: str) -> None:
    once = KNOWN.apply(printed.encode())
    assert once.decode() == written
    assert KNOWN.apply(once) == once


@pytest.mark.parametrize("harmless", [line for lines in STAYS.values() for line in lines])
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert KNOWN.apply(harmless.encode()).decode() == harmless


@pytest.mark.guarantee("G10")
def test_debians_python_masks_the_same() -> None:
    """That of Debian 12 is 3.11.2, whose expressions are not read as those of 3.11.5 (gh-106052)."""
    lines = [printed for pairs in MASKED.values() for printed, _ in pairs]
    lines += [line for lines in STAYS.values() for line in lines]
    there = subprocess.run(
        ["/usr/bin/python3", "-c", _MASKING],
        input=json.dumps(lines),
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(there.stdout) == [KNOWN.apply(line.encode()).decode() for line in lines]


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
        b"token" + b"\x1b[m" * 300_000,
        b"token=" + b"\x1b[m" * 300_000,
        b"token=\x1b]" * 100_000,
        b"token" + b" " * 1_000_000,
        b"token: " * 140_000,
        b"token=1 " * 125_000,
        b"/token: " * 125_000,
        b'"token",' * 125_000,
        b'("token","' * 100_000,
        b"password=[" * 100_000,
        b"password=['" * 90_000,
        b"password=[[['" * 70_000,
        b"password=a" + b'",' * 500_000,
        b"authorization: " * 66_000,
        b'\\"token\\":\\\\"' * 60_000,
        b'{"token=' + b'\\"' * 500_000,
        b'{"' + b"token=null " * 90_000,
        b"?token=" + b"\\" * 1_000_000,
        b"aa" * 32000,
        b"aa bb " * 10000,
    ],
)
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
