"""Fakes and fault injection, shipped so that users can test their workloads too."""
