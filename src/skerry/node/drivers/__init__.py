"""Drivers and workers of Cyberwave: which run here, how they are started, what is told of them."""
