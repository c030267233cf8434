"""Where scripts and configuration files name models."""

from __future__ import annotations

import msgspec

from skerry.core.names import component_fault


class Found(msgspec.Struct, frozen=True, order=True):
    """A model's id and where it is named."""

    file: str
    line: int
    model: str


class Unknown(msgspec.Struct, frozen=True, order=True):
    """A place where a model is named in a way that only running the script would tell, or a file that cannot be read.

    `model`: it is known, but cannot be a model's id.
    """

    file: str
    line: int
    cause: str
    model: str = ""


class Scan(msgspec.Struct, frozen=True):
    """What the scanned files name."""

    found: tuple[Found, ...] = ()
    unknown: tuple[Unknown, ...] = ()

    @property
    def models(self) -> list[str]:
        """The ids, each once, sorted."""
        return sorted({each.model for each in self.found})


def add(found: list[Found], unknown: list[Unknown], one: Found) -> None:
    """The model among the found ones, or why its name cannot be one."""
    fault = component_fault(one.model)
    if fault is None:
        found.append(one)
    else:
        unknown.append(Unknown(one.file, one.line, fault, one.model))
