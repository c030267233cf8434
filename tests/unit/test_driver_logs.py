"""The payload of `driverlog`, field by field, and the level that edge-core finds in a line."""

import pytest

from skerry.core.cyberwave.driver_logs import driver_log, level_in


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("motor is up", "INFO"),
        ("warn: motor is hot", "WARNING"),
        ("WARNING no camera", "WARNING"),
        ("debug 3", "DEBUG"),
        ("INFO: an error was seen", "ERROR"),
        ("a critical warning", "CRITICAL"),
        ("." * 80 + "ERROR", "INFO"),
        ("", "INFO"),
    ],
)
def test_the_level_is_the_first_of_its_words(text: str, level: str) -> None:
    assert level_in(text) == level


def test_the_payload_has_the_documented_fields() -> None:
    said = driver_log("DEBUG up", "cyberwave-driver-6f1f0c1e", "acme/arm:1", 12.5)
    assert said.pop("edge_core_version")  # type: ignore[attr-defined]
    assert said == {
        "type": "driver_log",
        "message": "DEBUG up",
        "level": "DEBUG",
        "container_name": "cyberwave-driver-6f1f0c1e",
        "source": "edge",
        "timestamp": 12.5,
        "driver_image": "acme/arm:1",
    }
    assert "driver_image" not in driver_log("up", "cyberwave-driver-6f1f0c1e", "", 1.0)


def test_a_pull_says_what_edge_core_says() -> None:
    """In the log it is marked as the node's own."""
    line = "docker pull completed for image acme/arm:1"
    assert driver_log(f"skerry: {line}", "c", "", 0.0)["message"] == line
    assert driver_log("skerry: stopped", "c", "", 0.0)["message"] == "skerry: stopped"
