"""One file for each change of the hub's schema, never edited after its release."""
