"""Where the hub keeps blobs, by its settings: a directory, or a bucket of an S3-compatible server."""

from __future__ import annotations

from pathlib import Path

from skerry.hub.ports import Blobs
from skerry.hub.settings import BlobsSection, HubSettings
from skerry.hub.store.blob_keys import BlobKeys
from skerry.hub.store.blobs import BlobDirectory
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.sealed_blobs import SealedBlobDirectory
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused

_OTHERS = 0o077


def open_blobs(settings: HubSettings, kind: str, store: HubStore) -> Blobs:
    """Blobs of one kind: a directory or prefix of that name. Raises InvalidInput, or Refused where others may read the key of an S3 server.

    Where the store is sealed, they are, too.
    """
    if settings.blobs.url is None:
        directory, disk = settings.data_dir / kind, RealDisk()
        if store.keys is None:
            return BlobDirectory(directory, disk)
        return SealedBlobDirectory(directory, BlobKeys(store, kind), disk)
    from skerry.hub.store.s3_blobs import S3Blobs  # noqa: PLC0415 - only where it is wanted
    from skerry.hub.store.s3_objects import Bucket, S3Objects  # noqa: PLC0415
    from skerry.hub.store.sealed_s3_blobs import SealedS3Blobs  # noqa: PLC0415

    where = settings.blobs
    bucket, _, prefix = (where.url or "").removeprefix("s3://").partition("/")
    place = Bucket(
        bucket,
        f"{prefix.strip('/')}/{kind}".strip("/"),
        where.endpoint,
        where.region,
        where.access_key,
        _secret(where),
    )
    objects = S3Objects(place)
    return S3Blobs(objects) if store.keys is None else SealedS3Blobs(objects, BlobKeys(store, kind))


def _secret(where: BlobsSection) -> str | None:
    path = where.secret_key_file
    if (path is None) != (where.access_key is None):
        raise InvalidInput(
            "cannot use the bucket: set both blobs.access_key and blobs.secret_key_file"
        )
    if path is None:
        return None
    try:
        mode = Path(path).stat().st_mode
        secret = Path(path).read_text().strip()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    if mode & _OTHERS:
        raise Refused(f"cannot use {path}: others may read it. Do: chmod 600 {path}")
    return secret
