"""Workloads: compare desired with actual, decide the steps that are possible now, take them."""
