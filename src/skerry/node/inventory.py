"""Reads what this device consists of: files of the kernel, and what a few system calls say. No program is started.

Nothing here may keep the agent from starting, so what cannot be read is left empty.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import pwd
import shutil
import socket
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from skerry.kit.one_line import one_line
from skerry.wire.devices import DRIVER_STARTS, EDGE_ORDERS, TOPIC_ORDERS
from skerry.wire.inventory import Drive, Inventory

_LONGEST = 200
_MOST = 32
"""Entries of one list."""

_SECTOR = 512
_NO_DRIVES = ("loop", "ram", "zram", "dm-", "md", "sr", "nbd", "fd")
_DEVICES = {
    "tpm": "dev/tpmrm0",
    "kvm": "dev/kvm",
    "nvidia": "dev/nvidia0",
    "gpu": "dev/dri/renderD128",
    "camera": "dev/video0",
    "i2c": "dev/i2c-1",
    "serial": "dev/ttyUSB0",
    "cgroup2": "sys/fs/cgroup/cgroup.controllers",
}
_PROGRAMS = {"bubblewrap": "bwrap", "nftables": "nft", "ssh": "sshd"}
_LIBRARIES = {"wasm": "wasmtime", "onnx": "onnxruntime"}
_PLACEHOLDERS = frozenset(
    {
        "to be filled by o.e.m.",
        "default string",
        "not specified",
        "none",
        "system serial number",
        "0",
    }
)
"""What makers leave in fields that they do not fill."""


def collect(hubs: Iterable[str], engines: Iterable[Path], root: Path = Path("/")) -> Inventory:
    """This device as it is now; `hubs` are the addresses of its hub, `engines` where a container engine may listen."""
    dmi = root / "sys/class/dmi/id"
    tree = root / "proc/device-tree"
    vendor, product = _word(dmi / "sys_vendor"), _word(dmi / "product_name")
    return Inventory(
        model=_word(tree / "model") or f"{vendor} {product}".strip(),
        board=f"{_word(dmi / 'board_vendor')} {_word(dmi / 'board_name')}".strip(),
        serial=_word(tree / "serial-number") or _word(dmi / "product_serial"),
        cpu=_value(root / "proc/cpuinfo", ("model name", "Model", "Hardware")),
        cpus=os.cpu_count() or 0,
        memory=_memory(root / "proc/meminfo"),
        drives=_drives(root / "sys/block"),
        os=_value(root / "etc/os-release", ("PRETTY_NAME",), "=").strip("\"'"),
        kernel=f"{platform.system()} {platform.release()}",
        engine=next((str(path) for path in engines if path.is_socket()), ""),
        user=_user(),
        address=_address(hubs),
        addresses=_addresses(root / "proc/net"),
        macs=_macs(root / "sys/class/net"),
        capabilities=_capabilities(root),
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(65_536).decode(errors="replace")
    except OSError:
        return ""


def _word(path: Path) -> str:
    found = one_line(_text(path).replace("\0", " ").strip())[:_LONGEST]
    return "" if found.lower() in _PLACEHOLDERS else found


def _value(path: Path, keys: Iterable[str], separator: str = ":") -> str:
    """The first value in a file of lines «key: value»."""
    found: dict[str, str] = {}
    for line in _text(path).splitlines():
        key, _, value = line.partition(separator)
        found.setdefault(key.strip(), one_line(value.strip())[:_LONGEST])
    return next((found[key] for key in keys if key in found), "")


def _memory(path: Path) -> int:
    words = _value(path, ("MemTotal",)).split()
    return int(words[0]) * 1024 if words and words[0].isdigit() else 0


def _names(path: Path) -> list[str]:
    try:
        return sorted(each.name for each in path.iterdir())
    except OSError:
        return []


def _drives(block: Path) -> list[Drive]:
    found = []
    for name in _names(block):
        sectors = _text(block / name / "size").strip()
        if not name.startswith(_NO_DRIVES) and sectors.isdigit() and int(sectors):
            found.append(Drive(name, int(sectors) * _SECTOR, _word(block / name / "device/model")))
    return found[:_MOST]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def _address(hubs: Iterable[str]) -> str:
    """Ours on the way to the first hub whose address is one: connecting a datagram socket sends nothing."""
    for hub in hubs:
        parts = urlsplit(hub)
        try:
            found = socket.getaddrinfo(
                parts.hostname,
                parts.port or 443,
                type=socket.SOCK_DGRAM,
                flags=socket.AI_NUMERICHOST,
            )
            family, kind, protocol, _, target = found[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(target)
                return str(probe.getsockname()[0])
        except (OSError, ValueError):
            continue
    return ""


def _addresses(net: Path) -> list[str]:
    """Those of all interfaces, but for loopback and link-local ones."""
    lines = _text(net / "fib_trie").splitlines()
    four = {before.split()[-1] for before, line in pairwise(lines) if "/32 host LOCAL" in line}
    six = {
        socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0]))
        for line in _text(net / "if_inet6").splitlines()
        if len(line.split()) > 3 and line.split()[3] == "00"  # of global scope
    }
    return sorted(each for each in four if not each.startswith(("127.", "169.254.")))[:_MOST] + sorted(six)[:_MOST]  # fmt: skip


def _macs(net: Path) -> list[str]:
    real = [name for name in _names(net) if (net / name / "device").exists()]
    return [mac for name in real if (mac := _word(net / name / "address"))][:_MOST]


def _capabilities(root: Path) -> list[str]:
    found = {name for name, path in _DEVICES.items() if (root / path).exists()}
    found |= {name for name, program in _PROGRAMS.items() if shutil.which(program)}
    found |= {name for name, library in _LIBRARIES.items() if importlib.util.find_spec(library)}
    return sorted({*found, "orders", EDGE_ORDERS, DRIVER_STARTS, TOPIC_ORDERS})
