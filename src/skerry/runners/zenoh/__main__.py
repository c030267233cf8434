"""`python -I -m skerry.runners.zenoh ORDER`."""

from skerry.runners.zenoh.main import main

main()
