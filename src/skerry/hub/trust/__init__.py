"""Whom the hub trusts with what: API tokens of people (docs/operate/access.md)."""
