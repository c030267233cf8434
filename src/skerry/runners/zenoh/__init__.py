"""The data bus of Cyberwave's drivers and workers on one device: `python -I -m skerry.runners.zenoh ORDER`.

`main` runs the order (`wire.data_bus`), `router` is the only one that knows Zenoh, `last` keeps what each channel said
last, `directories` is the same bus as files. What is recorded of either: `rules` and `content` decide, `recorder` does,
`ring` holds what an event makes a recording of. Contract: docs/reference/cyberwave-data-bus.md.
"""
