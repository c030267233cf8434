"""Bridges of test engines: networks in which a container reaches the device by the bridge's address only.

They need no packet filter: what a container sends to its gateway is for the device itself.
"""

from __future__ import annotations

import contextlib
import json
import random
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.engines import TestEngine, ask

_ADDRESSES = Path("/var/lib/cni/networks")
"""Where Podman's plugins keep which addresses are taken, by network."""


@contextlib.contextmanager
def bridge(engine: TestEngine) -> Iterator[tuple[str, str]]:
    """A network of the engine's own: its name, and the address that the device has in it."""
    chance = random.SystemRandom()
    name = f"skerry-test-{chance.randrange(10**6)}"
    start = f"10.{chance.randrange(128, 255)}.{chance.randrange(255)}"
    wanted = {
        "Name": name,
        "Driver": "bridge",
        "IPAM": {"Config": [{"Subnet": f"{start}.0/24"}]},
    }
    before = _rules()
    status, answer = ask(
        engine.socket, "POST", "/v1.40/networks/create", json.dumps(wanted).encode()
    )
    assert status == 201, answer
    try:
        yield name, f"{start}.1"
    finally:
        for one in json.loads(ask(engine.socket, "GET", "/v1.40/containers/json?all=1")[1]):
            ask(engine.socket, "DELETE", f"/v1.40/containers/{one['Id']}?force=1&v=1")
        status, answer = ask(engine.socket, "DELETE", f"/v1.40/networks/{name}")
        assert status == 204, answer
        _forget(before)
        shutil.rmtree(_ADDRESSES / name, ignore_errors=True)


def _rules() -> list[str]:
    """Of the packet filter, as commands; Podman's plugins make some with a network's first container and leave them."""
    words = ["iptables", "-w", "-S"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def _forget(before: list[str]) -> None:
    ours = [rule for rule in _rules() if rule not in before and "CNI-" in rule]
    added = [rule.replace("-A ", "-D ", 1) for rule in ours if rule.startswith("-A ")]
    chains = [rule.replace("-N ", "-X ", 1) for rule in ours if rule.startswith("-N ")]
    for rule in added + chains:
        subprocess.run(["iptables", "-w", *shlex.split(rule)], check=False, capture_output=True)
