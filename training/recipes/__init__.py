"""The recipes: one file for each network or ensemble. `RECIPES` lists the networks by name."""

from training.recipe import Recipe
from training.recipes import classic, compact, deep, dropconnect, kernel5, large, quick, wide

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        classic.RECIPE,
        compact.RECIPE,
        deep.RECIPE,
        dropconnect.RECIPE,
        kernel5.RECIPE,
        large.RECIPE,
        quick.RECIPE,
        wide.RECIPE,
    )
}
