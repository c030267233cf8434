"""Fails when a test was skipped for a reason that is not on the named list."""

import pathlib
import sys
import xml.etree.ElementTree as ET


def main(report: str, allowed_file: str) -> int:
    """Reads pytest's JUnit file; prints every skip whose reason is not a line of `allowed_file`."""
    allowed = {
        line.strip()
        for line in pathlib.Path(allowed_file).read_text().splitlines()
        if line and line[0] != "#"
    }
    unexpected = [
        f"{case.get('classname')}::{case.get('name')}: {skip.get('message')}"
        for case in ET.parse(report).iter("testcase")  # noqa: S314 - our own file
        for skip in case.iter("skipped")
        if skip.get("type") != "pytest.xfail" and skip.get("message") not in allowed
    ]
    print(
        "\n".join(["skips that are not on the named list:", *unexpected])
        if unexpected
        else "skips: all named"
    )
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
