"""Entry point of the gate: `python -I -S …/skerry/gate/__main__.py RUN JOURNAL MQTT_PORT REST_PORT LIMIT LARGEST`.

Isolated mode ignores the environment and the working directory, so the source root is put on the path here.
"""

import sys

if __name__ == "__main__":
    sys.path.insert(0, __file__.rsplit("/", 3)[0])

    from skerry.gate.main import main

    sys.exit(main(sys.argv[1:]))
