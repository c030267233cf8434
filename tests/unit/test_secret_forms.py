"""What is masked of a secret: in whatever common form and wherever in the output it stands."""

import base64
import json
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from skerry.keeper.log_rules import LogRules, secrets_of
from skerry.keeper.masks import Masks
from skerry.node.secrets.forms import masked_forms

printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=60)
around = st.binary(max_size=5)


def masks(*values: bytes) -> Masks:
    return Masks(LogRules(1000, 1, secrets=masked_forms(values)))


@given(printable, around, around)
def test_a_value_is_masked_in_base64_whatever_stands_around_it(
    value: str, before: bytes, after: bytes
) -> None:
    raw = value.encode()
    for form in (base64.b64encode, base64.urlsafe_b64encode):
        line = b"basic " + form(before + raw + after) + b" end\n"
        assert masks(raw).apply(line) != line


@given(printable)
def test_a_value_is_masked_in_urls_json_and_digits(value: str) -> None:
    raw = value.encode()
    for form in (quote(value), quote(value, safe=""), quote_plus(value), raw.hex()):
        assert masks(raw).apply(f"a={form}&b\n".encode()) == b"a=***&b\n"
    shown = json.dumps({"key": value}).encode()
    assert value.encode() not in masks(raw).apply(shown).replace(b"\\", b"")


def test_each_line_of_a_value_is_masked_and_short_ones_are_not() -> None:
    value = b"-----BEGIN KEY-----\nMIIabcdefghij\nxyz\n-----END KEY-----\n"
    printed = masks(value).apply(b"got MIIabcdefghij and xyz\n")
    assert printed == b"got *** and xyz\n"
    assert masked_forms([b"short", b""]) == []


def test_bytes_that_are_no_text_are_masked_too() -> None:
    value = b"\xff\xfe\x00secret\x80"
    assert masks(value).apply(b"<" + value + b">\n") == b"<***>\n"


def test_the_longest_form_comes_first() -> None:
    forms = masked_forms([b"secret-of-one", b"secret"])
    assert [len(form) for form in forms] == sorted((len(form) for form in forms), reverse=True)


def test_the_place_of_secrets_is_none() -> None:
    assert secrets_of({"SKERRY_SECRETS": "/run/secrets", "DB_SECRET": "hunter22"}) == ["hunter22"]
