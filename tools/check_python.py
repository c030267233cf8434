"""Says in one sentence what is missing before `make up` installs anything."""

import importlib.util
import sys

if sys.version_info < (3, 11):
    found = ".".join(map(str, sys.version_info[:3]))
    sys.exit(
        f"skerry: cannot install with Python {found}: version 3.11 or newer is needed. "
        "Install it (Debian: apt install python3 python3-venv) and run: make up PYTHON=python3.11"
    )
if importlib.util.find_spec("ensurepip") is None:
    sys.exit(
        "skerry: cannot create .venv: this Python has no ensurepip. "
        "Install it (Debian: apt install python3-venv) and run: make up"
    )
