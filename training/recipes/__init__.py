"""One file per published model; `RECIPES` lists them by name."""

from training.recipe import Recipe
from training.recipes import classic, compact, dropconnect, quick

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (classic.RECIPE, compact.RECIPE, dropconnect.RECIPE, quick.RECIPE)
}
