"""What a device reads about itself, from a made-up tree, and what of it counts as a change."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from skerry.core.inventory_changes import differing
from skerry.node.inventory import collect
from skerry.wire.inventory import Differing, Drive, Inventory
from skerry.wire.workload import NodeInfo

FIB = """Main:
  +-- 0.0.0.0/0 3 0 5
           |-- 127.0.0.1
              /32 host LOCAL
           |-- 10.0.0.7
              /32 host LOCAL
           |-- 10.0.0.255
              /32 link BROADCAST
"""
FILES = {
    "sys/class/dmi/id/sys_vendor": "ACME\n",
    "sys/class/dmi/id/product_name": "Box 3\n",
    "sys/class/dmi/id/product_serial": "To Be Filled By O.E.M.\n",
    "sys/class/dmi/id/board_name": "B3\n",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Fast One\nprocessor\t: 1\nmodel name\t: Fast One\n",
    "proc/meminfo": "MemTotal:        1024 kB\nMemFree: 1 kB\n",
    "proc/net/fib_trie": FIB,
    "proc/net/if_inet6": "fd000000000000000000000000000002 02 40 00 80 eth0\n"
    "fe800000000000000000000000000001 02 40 20 80 eth0\n",
    "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "sys/block/sda/size": "2048\n",
    "sys/block/sda/device/model": "DISK\x1b[31m\n",
    "sys/block/loop0/size": "8\n",
    "sys/class/net/eth0/address": "02:00:00:00:00:01\n",
    "sys/class/net/eth0/device/x": "",
    "sys/class/net/lo/address": "00:00:00:00:00:00\n",
    "dev/tpmrm0": "",
}


def tree(root: Path, **more: str) -> Path:
    for name, text in {**FILES, **more}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_machine(tmp_path: Path) -> None:
    found = collect(["https://hub.example", "http://127.0.0.1:1"], [], tree(tmp_path))
    assert (found.model, found.board, found.serial) == ("ACME Box 3", "B3", "")
    assert (found.cpu, found.memory) == ("Fast One", 1024 * 1024)
    assert found.os == "Debian GNU/Linux 12 (bookworm)"
    [drive] = found.drives
    assert (drive.name, drive.size) == ("sda", 1024 * 1024)
    assert "\x1b" not in drive.model
    assert (found.address, found.addresses) == ("127.0.0.1", ["10.0.0.7", "fd00::2"])
    assert found.macs == ["02:00:00:00:00:01"]
    assert {"tpm", "orders"} <= set(found.capabilities)


def test_a_board_with_a_device_tree(tmp_path: Path) -> None:
    more = {"proc/device-tree/model": "Pi 4\0", "proc/device-tree/serial-number": "1000abc\0"}
    found = collect([], [], tree(tmp_path, **more))
    assert (found.model, found.serial, found.address) == ("Pi 4", "1000abc", "")


def test_a_place_where_nothing_can_be_read(tmp_path: Path) -> None:
    found = collect(["nonsense", "http://[::bad"], [tmp_path / "no.sock"], tmp_path)
    assert (found.model, found.memory, found.drives, found.engine) == ("", 0, [], "")


INFO = NodeInfo(
    "n1",
    {"a": "b"},
    "0.1",
    "x86_64",
    "Linux 6",
    "3.11",
    "boot-1",
    1,
    Inventory(model="Box", cpus=2),
)


def test_a_boot_is_no_change_and_hardware_is() -> None:
    assert differing(INFO, replace(INFO, boot_id="boot-2", started_at=2)) == []
    more = Inventory(model="Box", cpus=4, drives=[Drive("sda", 1)])
    now = replace(INFO, version="0.2", inventory=more)
    assert [each.name for each in differing(INFO, now)] == ["cpus", "drives", "version"]
    assert Differing("cpus", "2", "4") in differing(INFO, now)


def test_an_agent_that_tells_no_inventory_has_lost_none() -> None:
    assert differing(INFO, replace(INFO, inventory=None)) == []
    assert differing(replace(INFO, inventory=None), replace(INFO, python="3.12")) == [
        Differing("python", "3.11", "3.12")
    ]
