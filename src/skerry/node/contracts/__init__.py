"""What a workload sees of its node: environment, files, endpoints. One module for each kind of workload."""
