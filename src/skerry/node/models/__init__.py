"""Models on the node: fetched, verified, kept, evicted, laid out for workloads."""
