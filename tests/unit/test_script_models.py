"""Models that only scripts name: when the hub is asked for them, what is kept, and what is said meanwhile."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence

from msgspec import structs
from tests.model_cases import model
from tests.workload_cases import wish

from skerry.kit.bell import Bell
from skerry.kit.errors import Transient
from skerry.node.models.named import AGAIN, EVERY, ScriptModels, only_named
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.models import MAX_NAMED, ModelSpec, NamedModels
from skerry.wire.workload import Assignment, LocalIntent


class Hub:
    """A hub with some models, the link to it, and the node's facts."""

    def __init__(self) -> None:
        self.changed = Bell()
        self.connected = True
        self.models: dict[str, ModelSpec] = {}
        self.asked: list[list[str]] = []
        self.problem = ""
        self.facts: dict[str, str] = {}

    async def ask(self, names: Sequence[str]) -> NamedModels:
        self.asked.append(list(names))
        if self.problem:
            raise Transient(self.problem)
        found = [self.models[name] for name in names if name in self.models]
        return NamedModels(found, [name for name in names if name not in self.models])

    async def fact(self, name: str) -> str | None:
        return self.facts.get(name)

    async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None:  # noqa: ARG002
        self.facts[name] = value

    def link(self, *, connected: bool) -> None:
        self.connected = connected
        self.changed.ring()


def naming(*names: str, spec_models: Sequence[str] = (), reloads: int = 0) -> Assignment:
    """An assignment whose scripts name models; its spec's are brought by the hub."""
    found = wish("a", models=list(spec_models))
    local = LocalIntent(reloads=reloads, models=list(names))
    return structs.replace(found, local=local, models=[model(name) for name in spec_models])


@contextlib.asynccontextmanager
async def asking(hub: Hub, clock: ManualClock) -> AsyncIterator[ScriptModels]:
    found = ScriptModels(hub, hub.ask, hub, clock, random.Random(3))
    await found.restore()
    running = asyncio.create_task(found.run())
    yield found
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def test_only_names_that_the_spec_does_not_bring() -> None:
    assert only_named(naming("cat", "dog", spec_models=["dog"])) == ["cat"]
    assert only_named(naming(spec_models=["dog"])) == []


async def test_an_answer_becomes_part_of_the_assignment(manual_clock: ManualClock) -> None:
    hub, asked = Hub(), naming("cat", "dog", spec_models=["dog"])
    hub.models["cat"] = model("cat")
    async with asking(hub, manual_clock) as named:
        assert named.missing(asked) == "scripts name model «cat»: the hub is asked for it"
        told = named.told.count
        named.want([asked])
        await named.told.after(told)
        amended = named.amended(asked)
        assert [one.name for one in amended.models] == ["dog", "cat"]
        assert named.missing(amended) == ""
        named.want([amended])
        assert hub.asked == [["cat"]]


async def test_it_is_asked_again_when_something_may_have_changed(manual_clock: ManualClock) -> None:
    hub = Hub()
    hub.models["cat"] = model("cat")
    async with asking(hub, manual_clock) as named:
        named.want([naming("cat")])
        await eventually(lambda: len(hub.asked) == 1, "first")
        named.want([naming("cat", reloads=1)])
        await eventually(lambda: len(hub.asked) == 2, "another script")
        hub.link(connected=False)
        hub.link(connected=True)
        await eventually(lambda: len(hub.asked) == 3, "the link is back")
        hub.models["cat"] = newer = model("cat", b"newer")

        def again() -> bool:
            manual_clock.advance(EVERY / 4)
            return named.amended(naming("cat")).models == [newer]

        await eventually(again, "after ten minutes")


async def test_nobody_is_asked_while_the_hub_is_away(manual_clock: ManualClock) -> None:
    hub = Hub()
    hub.connected = False
    async with asking(hub, manual_clock) as named:
        named.want([naming("cat")])
        await asyncio.sleep(0)
        assert named.missing(naming("cat")).endswith("the hub is asked for it; the hub is away")
        assert hub.asked == []
        hub.link(connected=True)
        await eventually(lambda: hub.asked == [["cat"]], "asked")


async def test_a_name_that_the_hub_does_not_have_is_said_and_asked_for_again(
    manual_clock: ManualClock,
) -> None:
    hub = Hub()
    async with asking(hub, manual_clock) as named:
        named.want([naming("cat")])
        changed = named.changed.count
        await named.changed.after(changed)
        assert named.missing(naming("cat")) == (
            "scripts name model «cat», which the hub does not have: "
            "skerry model push FILE --name cat"
        )
        hub.problem = "cannot reach hub"
        steps = iter(range(30))

        def fails() -> bool:
            if next(steps, None) is not None:
                manual_clock.advance(AGAIN.first)
            return len(hub.asked) >= 3

        await eventually(fails, "asked again, in vain")
        hub.problem = ""
        hub.models["cat"] = model("cat")

        def found() -> bool:
            manual_clock.advance(AGAIN.cap)
            return bool(named.amended(naming("cat")).models)

        await eventually(found, "found")
        assert len(hub.asked) < 10


async def test_answers_outlive_the_agent_and_a_deletion_at_the_hub(
    manual_clock: ManualClock,
) -> None:
    hub = Hub()
    hub.models |= {"cat": model("cat"), "dog": model("dog")}
    async with asking(hub, manual_clock) as named:
        named.want([naming("cat", "dog")])
        await named.told.after(0)
    hub.connected = False
    async with asking(hub, manual_clock) as named:
        found = named.amended(naming("cat", "dog"))
        assert (len(found.models), named.missing(found)) == (2, "")
        hub.models.clear()
        named.want([naming("cat", "bird")])
        hub.link(connected=True)
        await eventually(lambda: not named.amended(naming("dog")).models, "dog is not named")
        assert named.amended(naming("cat")).models == [model("cat")]


async def test_many_names_are_asked_for_in_parts(manual_clock: ManualClock) -> None:
    hub = Hub()
    names = [f"m{n:03}" for n in range(MAX_NAMED + 1)]
    hub.models |= {name: model(name) for name in names}
    async with asking(hub, manual_clock) as named:
        named.want([naming(*names)])
        await named.told.after(0)
        assert [len(part) for part in hub.asked] == [MAX_NAMED, 1]
        assert len(named.amended(naming(*names)).models) == MAX_NAMED + 1


async def test_without_a_hub_it_says_so(manual_clock: ManualClock) -> None:
    named = ScriptModels(Hub(), None, Hub(), manual_clock, random.Random(3))
    assert "this node has no hub" in named.missing(naming("cat"))
