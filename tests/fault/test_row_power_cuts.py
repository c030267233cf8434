"""The power fails while rows are edited, sent, answered, pulled, repaired and decided: on the node, or at the hub.

`make test` cuts in the middle of the steps that differ, `make soak` in every operation of the disk.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from tests.row_cuts import Moment, Templates, Who, make_templates
from tests.row_story import Told, tell

from skerry.testing.power_cut import FATES, Fate

Mode = Literal["plain", "sealed", "hub"]

PARTS = 20


class Stories:
    """The story without a cut, for each mode."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._told: dict[Mode, tuple[Templates, Told]] = {}

    async def cut(self, mode: Mode, step: str, fate: Fate) -> None:
        """The power fails in the middle of a step."""
        templates, told = await self.told(mode)
        moment = Moment(_who(mode), told.middle_of(step), fate)
        await tell(templates, self.directory / "cut", moment, told)

    async def told(self, mode: Mode) -> tuple[Templates, Told]:
        """How it goes."""
        if mode not in self._told:
            place = self.directory / mode
            place.mkdir()
            templates = await make_templates(place, sealed=mode == "sealed")
            home = self.directory / "uncut"
            self._told[mode] = templates, await tell(templates, home, Moment(_who(mode)))
        return self._told[mode]


def _who(mode: Mode) -> Who:
    return "hub" if mode == "hub" else "node"


@pytest.fixture(scope="module")
def stories() -> Iterator[Stories]:
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a directory of our own in it
    path = Path(tempfile.mkdtemp(prefix="sk-", dir=memory if memory.is_dir() else None))
    yield Stories(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("mode", "step", "fate"),
    [
        ("plain", "edit and delete", "lost"),
        ("plain", "judged", "lost"),
        ("sealed", "pull", "prefix"),
        ("plain", "decide at node", "lost"),
        ("plain", "repair", "apart"),
        ("hub", "judged", "mixed"),
        ("hub", "decide at hub", "lost"),
        ("hub", "prune", "prefix"),
    ],
)
async def test_rows_outlive_a_power_cut(
    stories: Stories, mode: Mode, step: str, fate: Fate
) -> None:
    await stories.cut(mode, step, fate)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("mode", ["plain", "sealed", "hub"])
async def test_rows_outlive_a_power_cut_at_any_moment(
    stories: Stories, mode: Mode, part: int
) -> None:
    templates, told = await stories.told(mode)
    for operation in range(part + 1, told.operations + 1, PARTS):
        fate = FATES[operation % len(FATES)]
        home = stories.directory / "cut"
        try:
            await tell(templates, home, Moment(_who(mode), operation, fate), told)
        except Exception as error:
            raise AssertionError(f"{mode}, operation {operation}, {fate}") from error
