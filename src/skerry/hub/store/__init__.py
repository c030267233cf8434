"""The hub's database: tables, migrations, the one writer."""
