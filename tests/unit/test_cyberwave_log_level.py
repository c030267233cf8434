"""How much a node logs about drivers and workers."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from skerry.node.cyberwave.places import set_log_level

ABOUT, OTHER = "skerry.node.drivers.wanted", "skerry.node.sync.link"


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]  # fmt: skip
    before = {each: each.level for each in loggers}
    yield
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.setLevel(before.get(logger, logging.NOTSET))


@pytest.mark.parametrize(
    ("said", "level"),
    [("DEBUG", logging.DEBUG), ("error", logging.ERROR), ("warn", logging.WARNING), ("loud", logging.INFO)],
)  # fmt: skip
def test_the_documented_variable_is_about_drivers_and_workers(said: str, level: int) -> None:
    other = logging.getLogger(OTHER).getEffectiveLevel()
    set_log_level({"CYBERWAVE_EDGE_LOG_LEVEL": said})
    assert logging.getLogger(ABOUT).getEffectiveLevel() == level
    assert logging.getLogger(OTHER).getEffectiveLevel() == other


def test_where_it_says_nothing_the_nodes_own_level_holds() -> None:
    set_log_level({"CYBERWAVE_EDGE_LOG_LEVEL": " "})
    assert logging.getLogger(ABOUT).getEffectiveLevel() == logging.root.level
