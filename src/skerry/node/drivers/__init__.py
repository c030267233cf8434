"""Drivers of Cyberwave's twins: which of them run here and how, what becomes of them, and what people are told of it."""
