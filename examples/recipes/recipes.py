"""A list of recipes that several nodes share: `@model` and what a repository does. See docs/reference/entities.md.

    recipes.py watch             print the list whenever it changes; this is what the workload does
    recipes.py list
    recipes.py add TITLE [SERVINGS]
    recipes.py cook TITLE        cooked once more, wherever it is cooked at the same time

It works on the node whose workload's socket SKERRY_SOCKET names, or at a hub: HUB=http://… TOKEN=… recipes.py list.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time

from skerry import sdk


@sdk.model(strategy="merge", edge_enabled=True, fields={"cooked": "sum", "tags": "union"})
@dataclasses.dataclass
class Recipe:
    """Fields that two nodes change apart are merged; `cooked` counts what all of them have cooked."""

    title: str
    servings: int = 2
    cooked: int = 0
    tags: list[str] = dataclasses.field(default_factory=list)
    id: str = ""


def main(words: list[str]) -> None:
    """Does what the words say."""
    recipes = sdk.repository(Recipe, hub=os.environ.get("HUB"), token=os.environ.get("TOKEN"))
    match words:
        case ["list"]:
            show(recipes)
        case ["watch"]:
            watch(recipes)
        case ["add", title, *servings]:
            recipes.create(Recipe(title, servings=int(servings[0]) if servings else 2))
        case ["cook", title]:
            for recipe in recipes.list(where={"title": title}):
                recipe.cooked += 1
                recipes.update(recipe)
        case _:
            sys.exit(__doc__)


def show(recipes: sdk.Repository[Recipe]) -> None:
    """Once."""
    for recipe in recipes.each():
        status = recipes.info(recipe.id).status
        print(
            f"{recipe.title:20} for {recipe.servings}, cooked {recipe.cooked}×  {status}",
            flush=True,
        )


def watch(recipes: sdk.Repository[Recipe]) -> None:
    """For ever."""
    seen: list[Recipe] | None = None
    while True:
        now = list(recipes.each())
        if now != seen:
            print(f"{len(now)} recipes: {', '.join(each.title for each in now)}", flush=True)
            seen = now
        time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1:])
