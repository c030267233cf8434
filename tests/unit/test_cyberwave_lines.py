"""What `skerry node status` says of a device's twins."""

from skerry.cli.states import cyberwave_lines
from skerry.kit.clock import NS
from skerry.wire.cyberwave import CyberwaveStatus, TwinDriver


def test_each_twin_has_a_line_with_its_driver_or_what_is_the_matter_with_it() -> None:
    drivers = [
        TwinDriver("t1", "arm", "cyberwave-driver-t1"),
        TwinDriver("t2", "camera"),
        TwinDriver("t3", "gripper", problem="it asks for command, which no driver is given"),
        TwinDriver("t4", "lidar", "cyberwave-driver-t4", flapping=0),
    ]
    status = CyberwaveStatus("fp", "e1", [], drivers)
    found = [(line.text, line.style) for line in cyberwave_lines(status, 90 * NS)]
    assert found[1:] == [
        ("  twin arm (t1): cyberwave-driver-t1", ""),
        ("  twin camera (t2): no driver of its own", ""),
        ("  twin gripper (t3): no driver: it asks for command, which no driver is given", "red"),
        ("  twin lidar (t4): cyberwave-driver-t4, flapping for 1m 30s", "red"),
    ]


def test_a_device_that_lacks_something_says_what_to_do() -> None:
    """Without an environment or a twin nothing would be said at all, and a newcomer would wait for a driver."""
    nowhere = [line.text for line in cyberwave_lines(CyberwaveStatus("fp", "", [], []), 0)]
    assert nowhere == [
        "cyberwave fp, environment none, so no driver is started: set cyberwave.environment, or write environment.json"
    ]
    alone = [line.text for line in cyberwave_lines(CyberwaveStatus("fp", "e1", [], []), 0)]
    assert alone[1:] == [
        "  no twin is linked to it: a twin's metadata.edge_fingerprint has to be fp"
    ]
