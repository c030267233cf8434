"""Alembic's scripts. `store.schema` runs them; `versions` holds one file for each change of the schema."""
