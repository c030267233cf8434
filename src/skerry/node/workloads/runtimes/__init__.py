"""Runtimes: how an instance of a workload is made. One file each."""
