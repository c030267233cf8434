"""The nodes' side of the hub: hello, push, pull, the live link."""
