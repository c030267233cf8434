"""An image with a driver that needs no SDK: it shows what it was started with, and lives or ends as it is told to.

`CYBERWAVE_ENDS` of its lives end at once with code 1, the others stay; it counts them in /data, which its params mount.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from tests.engines import PYTHON_CHANGES, TestEngine, ask, image_archive, import_image

DRIVER_IMAGE = "localhost/skerry-test-driver:latest"

PROGRAM = """
import json, os, pathlib, signal, sys
signal.signal(15, lambda *_: sys.exit(0))
lives = pathlib.Path(os.environ.get("LIVES", "/data/lives"))
life = int(lives.read_text()) + 1 if lives.exists() else 1
if lives.parent.is_dir():
    lives.with_name("lives.new").write_text(str(life))
    lives.with_name("lives.new").rename(lives)
config, files = pathlib.Path(os.environ["CYBERWAVE_EDGE_CONFIG_DIR"]), {}
for path in config.iterdir():
    try:
        files[path.name] = path.read_text()
    except FileNotFoundError:
        pass  # one that the agent was just about to rename
twin = os.environ.get("CYBERWAVE_TWIN_JSON_FILE", "")
seen = {"life": life, "env": dict(os.environ), "files": sorted(files), "credentials": files["credentials.json"],
        "twin": twin and json.loads(pathlib.Path(twin).read_text())["name"], "writable": os.access(twin, os.W_OK) if twin else None}
if lives.parent.is_dir():
    lives.with_name("seen.json").write_text(json.dumps(seen))
print(json.dumps({"life": life}), flush=True)
if life <= int(os.environ.get("CYBERWAVE_ENDS", "0")):
    sys.exit(1)
signal.pause()
"""


def with_driver(engine: TestEngine) -> str:
    """The image's name, once the engine has it."""
    if DRIVER_IMAGE not in json.dumps(
        json.loads(ask(engine.socket, "GET", "/v1.40/images/json")[1])
    ):
        changes = f"&changes={quote('CMD ' + json.dumps(['python3', '-c', PROGRAM]))}"
        import_image(engine.socket, DRIVER_IMAGE, image_archive(), PYTHON_CHANGES + changes)
    return DRIVER_IMAGE
