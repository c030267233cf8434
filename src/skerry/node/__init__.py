"""The device's side: one agent process that runs workloads and keeps their records, with or without the hub."""
