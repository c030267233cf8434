"""`python -I …/skerry/runners/zenoh/__main__.py RECORDING [PORT [HOST …]]`: not by `-m`, which loads more than a router needs."""

from skerry.runners.zenoh.main import main

main()
