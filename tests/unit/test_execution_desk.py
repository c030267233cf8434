"""Who may have a command run in what: by what the instance was started with, not only by what is wanted now."""

from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec.structs import replace
from tests.workload_cases import live

from skerry.kit.errors import Refused
from skerry.node.execution_desk import ExecutionDesk
from skerry.wire.executions import Wish


class Launched:
    """What the spec asks for now."""

    strict = True
    lacks = ""


class Asked:
    """A store of one row, and a runtime that starts whatever it is asked for."""

    def __init__(self, isolation: str) -> None:
        actual = live()
        assert actual.instance is not None
        self.row = replace(actual, instance=replace(actual.instance, isolation=isolation))

    def read(self, _workload: str) -> object:
        return self.row

    async def execute_in(self, _launch: object, _wish: Wish) -> str:
        return "begun"


async def begun(isolation: str, wish: Wish) -> object:
    asked = cast("Any", Asked(isolation))
    return await ExecutionDesk(asked, lambda *_: cast("Any", Launched()), asked).begin("a", wish)


@pytest.mark.parametrize("isolation", ["", "standard", "standard: container, seccomp"])
async def test_execute_is_not_enough_where_the_instance_was_not_started_strict(
    isolation: str,
) -> None:
    with pytest.raises(Refused, match="needs permission write besides"):
        await begun(isolation, Wish(["sh"], by="op"))
    assert await begun(isolation, Wish(["sh"], by="ann", writes=True)) == "begun"
    assert await begun("strict: landlock", Wish(["sh"], by="op")) == "begun"
