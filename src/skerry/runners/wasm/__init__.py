"""Runs one WebAssembly workload: `python -I -m skerry.runners.wasm ORDER`. Contract: docs/reference/wasm.md.

`main` ends with the module's exit code or one of `wire.wasm`, `assembly` builds the parts, `machine` is the only one
that knows wasmtime, `cache` keeps what it has compiled, `modes` are once, worker and on-record, `calls` is what a
module may ask of its node, `feed` brings it records, `deadline` interrupts it.
"""
