"""What is installed besides the node where it is wanted, and how; the runners' processes load this, too, so it imports nothing."""


def installing(extra: str) -> str:
    """How people get one, `wasm` or `zenoh`: by its package, or with the rest of a checkout's requirements."""
    return (
        f"Install the Debian package skerry-{extra}; where Skerry runs from its checkout, "
        "run «make install» there and start the node anew"
    )
