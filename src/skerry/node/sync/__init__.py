"""Towards the hub: link, push, pull, enrolment."""
