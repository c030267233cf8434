"""Files that workloads upload: kept by content, named by records, sent to the hub."""
