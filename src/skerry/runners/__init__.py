"""Child processes of a node that run what is no program of its own: WebAssembly modules."""
