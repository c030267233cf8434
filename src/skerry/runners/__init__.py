"""Programs that run as workloads' processes: they reach the node by `skerry.sdk` only."""
