"""Parts without domain knowledge: clock, disk, SQLite, ids, tasks, back-off, units."""
