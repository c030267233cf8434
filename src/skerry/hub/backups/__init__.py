"""Backups of the hub: what is in them, taking and putting them back, when, and what nodes may forget because of them."""
