"""Where a container finds what its node gives it; a spec's own volumes cannot lie there."""

SOCKET_INSIDE = "/run/skerry/sock"
"""Its workload's socket."""

MODELS_INSIDE = "/run/skerry-models"
"""Its models."""

SCRIPTS_INSIDE = "/app/workers"
"""The scripts of its worker group."""

SECRETS_INSIDE = "/run/secrets"
"""Its secrets that are files, where images look for them."""
