"""What must not be read in a diagnostics bundle. Pure.

The masks of workloads' logs (`keeper.masks`), and more, because a bundle leaves the device: who a URL speaks for, private keys, and texts
under names that say what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from skerry.keeper.log_rules import LogRules
from skerry.keeper.masks import MASK, Masks
from skerry.node.secrets.forms import masked_forms

_USER = re.compile(rb"(://)[^\s\"'<>/]*@|(://)[^\s\"'<>@]*:[^\s\"'<>]*@")
"""Up to the host's «@»; a password may have a «/» or an «@», so behind a «:» up to the last «@» of the word."""

_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)  # fmt: skip
_KEYS_END = re.compile(rb"\A(?:(?!-----BEGIN ).)*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
"""What is left of a key whose beginning was cut off."""

_SECRET_NAME = re.compile(
    r"(?:password|passwd|passphrase|secret|token|credentials?|private_?key|api_?key|access_?key|secrets_key|webhook\w*)$"
)
_MASK = MASK.decode()


class Scrubber:
    """Masks what always looks secret, and `secrets`, in the forms in which they are usually written."""

    def __init__(self, secrets: Iterable[bytes] = ()) -> None:
        self._values = frozenset(secrets)
        self._masks = Masks(LogRules(0, 0, known=True, secrets=masked_forms(self._values)))

    def knowing(self, more: Iterable[bytes]) -> Scrubber:
        """One that masks these values, too."""
        values = self._values | frozenset(more)
        return self if values == self._values else Scrubber(values)

    def data(self, data: bytes) -> bytes:
        """Whole lines."""
        if b"PRIVATE KEY-----" in data:
            data = _KEY.sub(MASK, _KEYS_END.sub(MASK, data))
        if b"://" in data and b"@" in data:
            data = _USER.sub(rb"://" + MASK + b"@", data)
        return self._masks.apply(data)

    def text(self, text: str) -> str:
        """One text; what is no UTF-8 in it is written in digits."""
        return self.data(text.encode(errors="surrogateescape")).decode(errors="backslashreplace")

    def value(self, value: object, name: str = "") -> object:
        """What JSON can say, each text in it by itself, so that it stays JSON; `name` is what it stands under."""
        match value:
            case str():
                return _MASK if value and is_secret_name(name) else self.text(value)
            case Mapping():
                return {self.text(str(key)): self.value(each, str(key)) for key, each in value.items()}  # fmt: skip
            case list() | tuple():
                return [self.value(each, name) for each in value]
            case _:
                return value


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is a secret; «password_file» names a file."""
    return _SECRET_NAME.search(name.lower().replace("-", "_")) is not None
