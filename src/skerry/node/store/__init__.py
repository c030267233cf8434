"""The middle of the node: a SQLite file for state, segments for records. Everything is written here first."""
