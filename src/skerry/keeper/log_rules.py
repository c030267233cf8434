"""What holds for one log: how it rotates and what is masked. Travels as fields of the keeper's protocol.

`log_file` rotates by it, `masks` masks by it. The agent makes it from the workload's spec (`node.contracts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from skerry.keeper.protocol import Fields, Message, ProtocolError

SHORTEST_SECRET = 6
"""A shorter value would be masked in words that have nothing to do with it."""

_DIRECTORY = "SKERRY_SECRETS"
"""Says where secrets are, which is none."""

_SECRET_NAMES = ("PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "KEY", "CREDENTIAL")


class LogRules:
    """`size` in bytes and `files` bound a log; `age` in seconds as well, unless it is None.

    `patterns` are masked as `masks` says, `secrets` are texts that never appear; with `known`, neither do the
    forms in which secrets are usually written. Its repr names no secret.
    """

    __slots__ = ("age", "files", "known", "patterns", "secrets", "size")

    def __init__(
        self,
        size: int,
        files: int,
        age: float | None = None,
        *,
        known: bool = False,
        patterns: Sequence[str] = (),
        secrets: Sequence[str] = (),
    ) -> None:
        self.size = size
        self.files = files
        self.age = age
        self.known = known
        self.patterns = tuple(patterns)
        self.secrets = tuple(secrets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LogRules) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"LogRules({self.size}, {self.files}, {self.age}, {len(self.secrets)} secrets)"

    def fields(self) -> Fields:
        """As fields of a message."""
        yield "log_size", self.size
        yield "log_files", self.files
        if self.age is not None:
            yield "log_age", self.age
        if self.known:
            yield "log_known", 1
        for pattern in self.patterns:
            yield "log_pattern", pattern
        for secret in self.secrets:
            yield "log_secret", secret

    def with_secrets(self, secrets: Sequence[str]) -> LogRules:
        """The same rules with other secrets."""
        return LogRules(
            self.size,
            self.files,
            self.age,
            known=self.known,
            patterns=self.patterns,
            secrets=secrets,
        )

    def _parts(self) -> tuple[object, ...]:
        return self.size, self.files, self.age, self.known, self.patterns, self.secrets


def rules_of(message: Message) -> LogRules:
    """The rules in a message. Raises ProtocolError."""
    return LogRules(
        message.number("log_size"),
        message.number("log_files"),
        _age(message.get("log_age")),
        known=message.get("log_known") is not None,
        patterns=message.all("log_pattern"),
        secrets=message.all("log_secret"),
    )


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """The values, line by line, of variables whose names say that they are secret; the longest first."""
    found = {
        line.strip()
        for name, value in environment.items()
        if name != _DIRECTORY and any(word in name.upper() for word in _SECRET_NAMES)
        for line in value.splitlines()
    }
    return _longest_first(text for text in found if len(text) >= SHORTEST_SECRET)


def _longest_first(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=lambda text: (-len(text), text))


def _age(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise ProtocolError("the field «log_age» is no number") from error
