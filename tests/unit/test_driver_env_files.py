"""Files of variables that params name: which are read, and which never."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from tests.driver_rig import (
    ARM,
    device,
    only,
    trouble,
    twin,
)

from skerry.kit.text_file import read_below
from skerry.node.drivers.device import Networks
from skerry.node.drivers.plans import planned
from skerry.node.drivers.views import LIBRARY


def test_a_file_of_variables_in_a_circle_of_links_is_that_twins_trouble(tmp_path: Path) -> None:
    on = device(tmp_path)
    on.directory.mkdir()
    (on.directory / "a").symlink_to("b")
    (on.directory / "b").symlink_to("a")
    assert "driver_start_failure" in trouble(twin(ARM, "--env-file", f"{on.directory}/a/x"), on=on)


def test_variables_of_files_come_first_and_a_bare_name_is_the_devices_own(tmp_path: Path) -> None:
    on = device(tmp_path, CYBERWAVE_X="x")
    on.directory.mkdir()
    file = on.directory / "arm.env"
    file.write_text("# ours\nA=1\nB=2\n")
    params = ["-e", "B=3", "--env-file", str(file), "-eCYBERWAVE_X", "-e", "UNKNOWN", "-e", "B=4"]
    assert list(only(twin(ARM, *params), on=on).variables.items()) == [
        ("A", "1"),
        ("B", "4"),
        ("CYBERWAVE_X", "x"),
    ]
    file.unlink()
    assert f"cannot read {file}" in trouble(twin(ARM, *params), on=on)


def test_a_file_of_variables_is_a_file_of_bounded_size_and_its_content_is_not_told(
    tmp_path: Path,
) -> None:
    on = device(tmp_path)
    on.directory.mkdir()
    file = on.directory / "arm.env"
    params = ["--env-file", str(file)]
    other = on.directory / "other.env"
    other.write_text("A=1\n")

    file.symlink_to(other)
    assert "it is a link, which is not followed" in trouble(twin(ARM, *params), on=on)
    file.unlink()
    os.mkfifo(file)
    assert "it is no file" in trouble(twin(ARM, *params), on=on)
    file.unlink()
    file.write_bytes(b"A=" + b"x" * (1 << 20))
    assert "it has more than 1048576 bytes" in trouble(twin(ARM, *params), on=on)
    file.write_bytes(b"A=\xff")
    assert "it is not UTF-8 text" in trouble(twin(ARM, *params), on=on)
    file.write_text("A=1\0\n")
    assert "line 1 is no NAME=VALUE" in trouble(twin(ARM, *params), on=on)
    file.write_text("A=1\n\nsecret words\n")
    told = trouble(twin(ARM, *params), on=on)
    assert "arm.env: line 3 is no NAME=VALUE" in told
    assert "secret" not in told


def test_a_file_of_variables_is_behind_no_link_below_the_configuration_directory(
    tmp_path: Path,
) -> None:
    """A driver that writes there would have the node read, as root, what it may not read itself."""
    on = device(tmp_path)
    (on.directory / "own").mkdir(parents=True)
    file = on.directory / "own" / "arm.env"
    file.write_text("A=1\n")
    assert only(twin(ARM, "--env-file", str(file)), on=on).variables == {"A": "1"}

    def swapped(root: Path, path: PurePath) -> bytes:
        """At the last moment: what is asked for has been looked at."""
        (on.directory / "own").rename(on.directory / "before")
        (on.directory / "own").symlink_to(tmp_path / "elsewhere")
        return read_below(root, path)

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "arm.env").write_text("SECRET=1\n")
    found = planned([twin(ARM, "--env-file", str(file))], on, Networks(), read=swapped)
    assert not found.drivers
    assert "it is a link, which is not followed" in found.troubles[0].text
    around = f"{on.directory}/before/../own/arm.env"
    assert "it is a link" in trouble(twin(ARM, "--env-file", around), on=on)


def test_no_file_of_the_library_that_drivers_write_is_read_for_any_driver(tmp_path: Path) -> None:
    on = device(tmp_path)
    (on.directory / LIBRARY).mkdir(parents=True)
    file = on.directory / LIBRARY / "arm.env"
    file.write_text("A=1\n")
    assert "asks for --env-file" in trouble(twin(ARM, "--env-file", str(file)), on=on)
