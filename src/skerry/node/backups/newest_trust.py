"""What a node proves itself by is renewed while its backups age: putting one back must not make it older.

A certificate from a backup may have expired, and roots from one may not know the hub of today.
"""

from __future__ import annotations

from skerry.kit.errors import Refused
from skerry.node.trust.files import TrustFiles, certificates_of


def keep_newest(here: TrustFiles, restored: TrustFiles) -> None:
    """Makes of what comes out of a backup what is `here`, if that is usable; of both roots those with the higher number.

    Raises Refused where the backup's own cannot be read, and OSError.
    """
    try:
        own, roots = here.own(), here.bundle()
    except Refused:
        return
    if own is None or not certificates_of(own):
        return
    restored.keep_own(own)
    if roots.number > restored.bundle().number:
        restored.keep_bundle(roots)
