"""Locks by name are there while somebody uses them, and no longer."""

import asyncio

from skerry.kit.named_locks import NamedLocks


async def test_one_at_a_time_by_name_and_nothing_remains() -> None:
    locks, seen = NamedLocks(), list[str]()

    async def work(name: str, what: str) -> None:
        async with locks[name]:
            seen.append(f"{what} begins")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen.append(f"{what} ends")

    await asyncio.gather(work("a", "first"), work("a", "second"), work("b", "other"))
    assert [each for each in seen if "other" not in each] == [
        "first begins", "first ends", "second begins", "second ends",
    ]  # fmt: skip
    assert seen.index("other begins") < seen.index("first ends")
    for number in range(1000):
        await work(str(number), "more")
    assert len(locks) == 0
