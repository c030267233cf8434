"""Entry point of the keeper: `python -I -S …/skerry/keeper/__main__.py SOCKET`.

Isolated mode ignores the environment and the working directory, so the source root is put on the path here.
"""

import sys

if __name__ == "__main__":
    sys.path.insert(0, __file__.rsplit("/", 3)[0])

    from skerry.keeper.main import main

    sys.exit(main(sys.argv[1:]))
