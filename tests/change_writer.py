"""One of several processes that write changes to one database: `python tests/change_writer.py URL HOW COUNT SEED`.

HOW «locked» takes its numbers as the hub does. «sequence» takes them from a sequence, as a control: those become visible
in any order. Waits for a line on stdin before it begins, so that all write at the same time.
"""

import asyncio
import random
import sys
import time

from sqlalchemy import Connection

from skerry.hub.store import changes
from skerry.hub.store.hub_store import HubStore
from skerry.kit.clock import SystemClock

AT_ONCE = 4


def allot(connection: Connection, how: str) -> int:
    if how == "locked":
        return changes.allot(connection)
    return int(connection.exec_driver_sql("SELECT nextval('control')").scalar_one())


async def main(url: str, how: str, count: int, seed: int) -> None:
    chance = random.Random(seed)
    clock = SystemClock()
    store = HubStore(url, clock)
    await asyncio.to_thread(store.start)
    print("ready", flush=True)  # noqa: T201 - to the test
    await asyncio.to_thread(sys.stdin.readline)

    def work(connection: Connection) -> None:
        seq = allot(connection, how)
        time.sleep(
            chance.random() * 0.006
        )  # what else a transaction does between number and commit
        changes.append(connection, [changes.Change(seq, "n", "assignment", "w", "hub")], 0)

    for _ in range(count // AT_ONCE):
        await asyncio.gather(*(store.write(work) for _ in range(AT_ONCE)))
    await asyncio.to_thread(store.stop)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
