"""How the broker runs: for the gate alone, which has checked everything, and with nothing on the disk."""

from __future__ import annotations

from pathlib import Path

from skerry.gate import SESSION_SECONDS

_MOST_QUEUED = 1000
_QUEUED_BYTES = 8 * 1024 * 1024
_UNANSWERED_BYTES = 1024 * 1024
"""Of what one client has not acknowledged, the last message not counted."""


def mosquitto_conf(socket: Path, user: str, largest: int, memory: int) -> str:
    """A configuration of mosquitto 2 that listens at `socket` and nowhere else; a packet has `largest` bytes at most.

    It holds so many bytes of `memory` that it is never ended for it: it hangs up on whoever asks for more, or reads too slowly.

    `user` is who starts it: as root it would become somebody who cannot enter the node's directory. Whoever reaches the
    socket is the gate, or the node's own user.
    """
    return "\n".join(
        (
            f"user {user}",
            f"listener 0 {socket}",
            "allow_anonymous true",
            "persistence false",
            "retain_available false",
            "sys_interval 0",
            f"max_packet_size {largest}",
            f"memory_limit {memory * 3 // 4}",
            f"max_inflight_bytes {_UNANSWERED_BYTES}",
            f"max_queued_messages {_MOST_QUEUED}",
            f"max_queued_bytes {_QUEUED_BYTES}",
            f"persistent_client_expiration {SESSION_SECONDS // 3600}h",
            "log_dest stderr",
            "log_timestamp false",
            "log_type error",
            "log_type warning",
            "",
        )
    )
