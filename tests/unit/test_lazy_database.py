"""A hub with SQLite does without what only PostgreSQL needs: 10 MB of memory."""

import subprocess
import sys

PROBE = "import sys, skerry.cli.hub, skerry.hub.server; sys.exit('psycopg' in sys.modules)"


def test_the_driver_of_postgresql_is_loaded_for_it_alone() -> None:
    assert subprocess.run([sys.executable, "-c", PROBE], check=False).returncode == 0
