"""`python -I -m skerry.runners.wasm ORDER`."""

from skerry.runners.wasm.main import main

main()
