"""The administrator's token: a file beside the hub's data, made at the first start, read by the command line."""

from __future__ import annotations

import os
from pathlib import Path

from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.ids import random_token

FILE_NAME = "admin.token"


def load_or_create(data_dir: Path, disk: Disk) -> str:
    """The token in `<data_dir>/admin.token`, which is created with mode 0600 when it is missing.

    Raises InvalidInput when the file holds no usable token, Refused when it cannot be read or made.
    """
    path = data_dir / FILE_NAME
    try:
        if not path.exists():
            _create(data_dir, disk)
        token = path.read_text().strip()
    except OSError as error:
        raise Refused(
            f"cannot use {path}: {error.strerror}. It must be the hub's user's own file."
        ) from error
    if len(token) < 32:
        raise InvalidInput(
            f"cannot use {path}: it holds {len(token)} characters, a token has at least 32. "
            "Delete the file and start the hub again: it makes a new one."
        )
    return token


def _create(data_dir: Path, disk: Disk) -> None:
    """Another hub process may share the directory: the first one's token is everybody's."""
    fresh = data_dir / f"{FILE_NAME}.{random_token(4)}"
    disk.write_atomic("admin-token.write", fresh, f"{random_token(32)}\n".encode(), mode=0o600)
    path = data_dir / FILE_NAME
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links: of two that start at once the later one's is it
        disk.rename("admin-token.rename", fresh, path)
        return
    disk.unlink("admin-token.written", fresh)
