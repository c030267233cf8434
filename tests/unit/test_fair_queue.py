"""Who has much to send holds up nobody who has little."""

from skerry.kit.fair_queue import FairQueue


def drained(queue: FairQueue[str, str]) -> list[str]:
    found = []
    while (item := queue.take()) is not None:
        found.append(item)
    return found


def test_keys_take_turns_and_each_keeps_its_order() -> None:
    queue: FairQueue[str, str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
        queue.put(item[0], item)
    queue.put_urgent("now")
    assert drained(queue) == ["now", "a1", "b1", "c1", "a2", "c2", "a3"]


def test_what_is_dropped_is_not_sent() -> None:
    queue: FairQueue[str, str] = FairQueue()
    for item in ("a1", "b1", "a2"):
        queue.put(item[0], item)
    queue.drop("a")
    assert drained(queue) == ["b1"]
