"""The resident helper of a node: forks native workloads, owns their output, outlives the agent. Stdlib only."""
