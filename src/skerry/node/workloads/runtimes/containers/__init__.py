"""Containers of a Docker or Podman engine: `runtime` implements `node.ports.Runtime` by `engine`, the Engine API."""
