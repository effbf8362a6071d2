"""One file per published model; `RECIPES` lists them by name."""

from training.recipe import Recipe
from training.recipes import classic, dropconnect, quick

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (classic.RECIPE, dropconnect.RECIPE, quick.RECIPE)
}
