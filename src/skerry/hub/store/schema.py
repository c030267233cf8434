"""The database's version: Alembic migrations that run at start, and refusing what a newer hub wrote."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from skerry.kit.errors import Refused
from skerry.kit.sqlite import StateTooNew

_MIGRATIONS = Path(__file__).parent / "migrations"


def newest() -> str:
    """The revision that `migrate` brings a database to."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return str(ScriptDirectory.from_config(config).get_current_head())


def migrate(connection: Connection) -> None:
    """Brings the database to this build's schema, within the caller's transaction.

    Raises StateTooNew when a newer build wrote it, and Refused when it is not a hub's database.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    found = MigrationContext.configure(connection).get_current_revision()
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    where = connection.engine.url
    if found is None and inspect(connection).get_table_names():
        raise Refused(
            f"cannot open {where}: it holds tables of something else. Give the hub an empty database."
        )
    if found is not None and found not in known:
        raise StateTooNew(
            f"cannot open {where}: schema {found}, this build knows {known[0]}. "
            "Install the newer Skerry again."
        )
    command.upgrade(config, "head")
