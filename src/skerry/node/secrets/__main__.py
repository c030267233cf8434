"""The process that opens secrets: an order on standard input, the answer on standard output, and it ends."""

from __future__ import annotations

import sys

from skerry.node.secrets.envelope_work import carry_out
from skerry.node.secrets.opening import Order
from skerry.wire.codec import decode, encode

if __name__ == "__main__":
    order = decode(sys.stdin.buffer.read(), Order, "order")
    sys.stdout.buffer.write(encode(carry_out(order)))
