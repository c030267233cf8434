"""The page's Jinja2 templates. Everything is escaped; undefined names are errors."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_DIRECTORY = Path(__file__).with_name("templates")


class Templates:
    """Renders templates by name. `title` is the fleet's name, shown on every page."""

    def __init__(self, fleet: str, version: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_DIRECTORY),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(fleet=fleet, version=version)

    def render(self, name: str, **values: object) -> str:
        """The template's text with these values."""
        return self._environment.get_template(name).render(**values)
