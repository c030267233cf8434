"""USB devices in a tree like the kernel's: found by vendor, product, serial; waited for, handed over, missed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.usb_tree import Tree
from tests.workload_cases import wish

from skerry.core.specs import check_spec
from skerry.core.usb_names import UsbName, usb_name
from skerry.kit.bell import Bell
from skerry.node.ports import NeedGone
from skerry.node.workloads.runtimes.containers.devices import Devices
from skerry.node.workloads.runtimes.containers.usb import find, mappings, plugged_in
from skerry.wire.workload import Assignment, ContainerSpec, WorkloadSpec


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "sys")


class Plugging:
    """Devices on a tree, with the kernel's word in the test's hand."""

    def __init__(self, tree: Tree) -> None:
        self.changed = Bell()
        self.listening = 0
        self.lost: list[str] = []
        self.tell: Callable[[], None] = lambda: None
        self.devices = Devices(tree.root, self._listen, self.changed)
        self.devices.lost = self.lost.append

    def _listen(self, on_change: Callable[[], None]) -> Callable[[], None]:
        self.listening += 1
        self.tell = on_change

        def stop() -> None:
            self.listening -= 1

        return stop


def box(*items: str) -> Assignment:
    inside = ContainerSpec(image="cam:1", devices=list(items))
    return wish("cam", runtime="container", process=None, container=inside)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("usb:0403:6001", UsbName("0403", "6001", "", "")),
        ("usb:0403:6001:A50285BI", UsbName("0403", "6001", "A50285BI", "")),
        ("usb:*:*:A5=/dev/modem", UsbName("*", "*", "A5", "/dev/modem")),
        ("usb:*:*", None),
        ("usb:0403", None),
        ("usb:0403:6001=modem", None),
        ("/dev/video0", None),
    ],
)
def test_how_a_device_is_named(item: str, name: UsbName | None) -> None:
    assert usb_name(item) == name
    inside = ContainerSpec(image="cam:1", devices=[item])
    spec = WorkloadSpec(name="cam", runtime="container", container=inside)
    assert bool(check_spec(spec)) == (name is None and not item.startswith("/dev/"))


def test_devices_are_found_with_their_nodes_and_not_those_of_a_hub(tree: Tree) -> None:
    hub = tree.plug("1-1", "1d6b:0002")
    tree.plug("1-2", "0403:6001", "A5", tty="ttyUSB0")
    tree.plug("1-33", "046d:0825", "CAM", video4linux="video0", sound="snd/pcmC1D0c")
    (hub / "1-1.4").mkdir()
    (hub / "1-1.4/idVendor").write_text("0403\n")
    (hub / "1-1.4/uevent").write_text("DEVNAME=bus/usb/001/099\n")
    there = plugged_in(tree.root)
    assert {one.place: one.nodes for one in there} == {
        "1-1": ("/dev/bus/usb/001/003",),
        "1-2": ("/dev/ttyUSB0", "/dev/bus/usb/001/003"),
        "1-33": ("/dev/snd/pcmC1D0c", "/dev/video0", "/dev/bus/usb/001/004"),
    }
    modem = UsbName("*", "*", "A5", "/dev/modem")
    found = find(modem, there)
    assert found is not None
    assert mappings(modem, found) == [
        ("/dev/ttyUSB0", "/dev/modem"),
        ("/dev/bus/usb/001/003", "/dev/bus/usb/001/003"),
    ]
    assert find(UsbName("0403", "6001", "B6", ""), there) is None
    assert plugged_in(tree.root / "nowhere") == []


def test_a_workload_waits_for_its_device(tree: Tree) -> None:
    plugging = Plugging(tree)
    wanted = box("usb:0403:6001:A5", "/dev/null")
    plugging.devices.want([wanted])
    assert plugging.devices.missing(wanted) == "USB device with serial A5 is not plugged in"
    assert (
        plugging.devices.missing(box("usb:0403:6001")) == "USB device 0403:6001 is not plugged in"
    )
    seen = plugging.changed.count
    tree.plug("1-2", "0403:6001", "A5", tty="ttyUSB0")
    plugging.tell()
    assert plugging.changed.count > seen
    assert plugging.devices.missing(wanted) == ""
    plugging.devices.want([])
    assert plugging.listening == 0


def test_nobody_listens_where_nobody_needs_a_device(tree: Tree) -> None:
    plugging = Plugging(tree)
    plugging.devices.want([box("/dev/null"), wish("a")])
    assert plugging.devices.hand("i1", ["/dev/null"]) == []
    assert plugging.listening == 0


def test_an_instance_whose_device_goes_or_moves_is_lost(tree: Tree) -> None:
    plugging = Plugging(tree)
    item = "usb:0403:6001:A5"
    with pytest.raises(NeedGone, match="USB device with serial A5 is not plugged in"):
        plugging.devices.hand("i0", [item])
    tree.plug("1-2", "0403:6001", "A5", tty="ttyUSB0")
    assert plugging.devices.hand("i1", [item])[0] == ("/dev/ttyUSB0", "/dev/ttyUSB0")
    assert plugging.devices.handed("i1") == {item: ("/dev/ttyUSB0", "/dev/bus/usb/001/003")}
    tree.plug("1-3", "046d:0825", "CAM", video4linux="video0")
    plugging.tell()
    assert plugging.lost == []
    tree.unplug("1-2")
    tree.plug("1-2", "0403:6001", "A5", tty="ttyUSB1")
    plugging.tell()
    assert plugging.lost == ["i1"]
    plugging.devices.was_handed("i2", {item: ["/dev/ttyUSB1", "/dev/bus/usb/001/003"]})
    tree.unplug("1-2")
    plugging.tell()
    assert plugging.lost == ["i1", "i2"]
    plugging.devices.close()
    assert plugging.listening == 0


def test_what_an_earlier_agent_gave_may_have_gone_meanwhile(tree: Tree) -> None:
    plugging = Plugging(tree)
    plugging.devices.was_handed("i1", {"usb:0403:6001": ["/dev/ttyUSB0"]})
    assert plugging.lost == ["i1"]
