"""What files say of synced entities by name: read, refused with the line, and laid over declarations."""

from pathlib import Path

import pytest

from skerry.core.entity_words import carried, decided, left_alone, names_in, overruled
from skerry.core.synced_words import EntityWords
from skerry.hub import settings as hub
from skerry.kit.errors import InvalidInput
from skerry.node import settings as node
from skerry.wire.shared import Declaration

FILE = """
sync:
  conflict_resolution: edge_wins
  entities:
    recipe: {conflict_resolution: merge, fields: {cooked: sum}, priority: low, batch_size: 20}
    stock: {batch_size: 5}
  schedule: {recipe: 1h}
"""


def written(directory: Path, text: str) -> Path:
    file = directory / "node.yaml"
    file.write_text(text)
    return file


def test_a_file_names_entities(tmp_path: Path) -> None:
    file = written(tmp_path, FILE)
    words = {
        "recipe": EntityWords("merge", fields={"cooked": "sum"}, priority="low", batch_size=20),
        "stock": EntityWords("edge_wins", batch_size=5),
    }
    on_node = node.node_settings(node.find_settings([file], environment={}), {}).sync
    on_hub = hub.hub_settings(hub.find_settings([file], environment={})).sync
    for found in (on_node.entities, on_hub.entities):
        assert {name: said for name, said in found.items() if name in words} == words
    assert {name: each for name, each in on_node.schedule.items() if each} == {"recipe": 3600.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("entities: {recipe: {fields: {a: summ}}}", "recipe.fields: unknown rule «summ» of «a»: did you mean «sum»?", id="rule"),
        pytest.param("entities: {recipe: {fields: {a..b: sum}}}", "recipe.fields: «a..b» is no path of a field", id="path"),
        pytest.param("entities: {recipe: {strategy: merge}}", "unknown setting «sync.entities.recipe.strategy»", id="key"),
        pytest.param("entities: {recipe: {fallback: merge}}", "recipe.fallback: unknown word «merge»", id="fallback"),
        pytest.param("entities: {recipe: {batch_size: 0}}", "recipe.batch_size: 0 is out of range: at least 1", id="batch"),
        pytest.param("entities: {Recipe: {priority: low}}", "sync.entities.Recipe: «Recipe» is no entity's name", id="name"),
        pytest.param("entities: {workflow: {priority: low}}", "did you mean «sync.entities.workflows»?", id="misspelt"),
        pytest.param("schedule: {recipe: 0.5}", "sync.schedule.recipe: 500ms is out of range: at least 1s", id="schedule"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, f"sync:\n  {text}\n")
    with pytest.raises(InvalidInput) as caught:
        node.find_settings([file], environment={})
    assert f"{file}:2: " in str(caught.value)
    assert said in str(caught.value)


def test_a_program_does_not_speak_where_the_settings_do() -> None:
    words = EntityWords("merge", fields={"a": "max"}, priority="high")
    asked = Declaration("central_wins", fields={"a": "min", "b": "sum"}, batch_size=7)
    assert decided(words, asked) == Declaration("merge", fields={"a": "max", "b": "sum"}, batch_size=7)  # fmt: skip
    assert carried(words, asked).priority == "high"
    held = Declaration("edge_wins", fields={"c": "lww"})
    taken = left_alone(names_in(words), held, asked)
    assert (taken.strategy, taken.fields, taken.priority) == ("edge_wins", {"b": "sum"}, "medium")
    assert taken.batch_size == 7
    assert overruled(words, held) == ["conflict_resolution: edge_wins, not merge", "fields «a»: none, not max"]  # fmt: skip
    assert overruled(words, decided(words, held)) == []
