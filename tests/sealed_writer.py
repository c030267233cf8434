"""A hub process that writes and rotates without pause: `python -m tests.sealed_writer URL DIRECTORY`.

Prints «SESSION COUNTER» for every record that is durable.
"""

import asyncio
import random
import sys
from functools import partial
from pathlib import Path

import msgspec
from sqlalchemy import Connection
from tests.sealed_hub import CANARY, rotation_of, wish

from skerry.hub.data.ingest import Ingest
from skerry.hub.store import rows
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.rotation import Rotation
from skerry.kit.clock import SystemClock
from skerry.kit.errors import Transient
from skerry.kit.ids import random_token
from skerry.wire.codec import encode
from skerry.wire.records import Batch, Record
from skerry.wire.sync import StateRow

AT_ONCE = 5


async def main(url: str, directory: Path) -> None:
    store = HubStore(url, SystemClock(), encryption=wish(directory))
    await asyncio.to_thread(store.start)
    await asyncio.gather(write(store), rotate(rotation_of(store)))


async def rotate(rotation: Rotation) -> None:
    while True:
        try:
            await rotation.rotate()
            await rotation.once()
        except Transient as error:
            print(f"# {error}", flush=True)  # noqa: T201 - to the test


async def write(store: HubStore) -> None:
    ingest, session = Ingest(lambda: store.facts.index_key), random_token(16)
    counter = 1
    while True:
        learn = await store.write(partial(work, ingest, session, counter))
        assert callable(learn)
        learn()
        for number in range(counter, counter + AT_ONCE):
            print(session, number, flush=True)  # noqa: T201 - to the test
        counter += AT_ONCE


def work(ingest: Ingest, session: str, counter: int, connection: Connection) -> object:
    shared = StateRow("status", "w", counter, counter, "n", body=body(session, counter))
    rows.write(connection, [rows.Scoped("n", shared)], counter)
    return ingest.ingest(connection, "n", "boot", counter, [batch(session, counter)])


def batch(session: str, counter: int) -> Batch:
    chance = random.Random(counter)
    records = [
        Record(index, "t", chance.getrandbits(40), f"{session} {counter + index}", {"note": CANARY})
        for index in range(AT_ONCE)
    ]
    return Batch("measurement", "s", session, counter, 1, 1, "synced", records)


def body(session: str, counter: int) -> msgspec.Raw:
    return msgspec.Raw(encode({"who": session, "counter": counter, "note": CANARY}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
