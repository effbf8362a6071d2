"""The model card's paragraphs on how a network was trained."""

from typing import Any

from app.bundle import Metadata


def describe_training(recipe: dict[str, Any], metadata: Metadata) -> str:
    """Return the paragraphs on one network, in Markdown.

    Args:
        recipe: The network's recipe as `Recipe.describe` returns it.
        metadata: The metadata of the bundle that the network is in, or is a member of.
    """
    libraries = ", ".join(f"{name} {number}" for name, number in metadata.libraries.items())
    stopped = metadata.epochs and len(metadata.epochs) < recipe["epochs"]
    ended = f", stopped after {len(metadata.epochs)}," if stopped else ","
    length = f"{recipe['epochs']} epochs{ended} batches of {recipe['batch_size']}"
    optimizer = "Muon for the kernels" if recipe.get("optimizer") == "muon" else "AdamW"
    finish = refit = ""
    if recipe.get("finish") and not stopped:
        finish = _last_epochs("The last", recipe["finish"])
    if recipe.get("refit") and metadata.refitted:
        refit = _last_epochs("On all 60,000 digits, a further", recipe["refit"])
    return f"""Recipe `{recipe["name"]}`: {length}, {optimizer}
with a peak learning rate of {recipe["learning_rate"]:g}, seed {recipe.get("seed", metadata.seed)}.
{_teachers(recipe, metadata)}Made with {libraries}.

| augmentation | |
| --- | --- |
{_augmentation(recipe)}

For each digit, {recipe["outlier_share"]:g} images that show no digit were added, with uniform
targets.{_hands(recipe)}
{finish}{refit}"""


def _hands(recipe: dict[str, Any]) -> str:
    """Return what else the training showed and demanded, for a recipe that says so."""
    text = ""
    if recipe.get("drawn_share"):
        text += f"\nFor each digit, {recipe['drawn_share']:g} digits of other hands were drawn."
    if margin := recipe.get("margin"):
        text += (
            f"\nScores of digits below {margin['digits']:g} and of other images above"
            f" {margin['outliers']:g} cost their squared distance times {margin['weight']:g}."
        )
    if recipe.get("start"):
        text += f"\nThe training started from the weights in `model/teachers/{recipe['start']}`."
    if seeds := recipe.get("seeds"):
        text += (
            f"\nThe network has the mean of the weights of {1 + len(seeds)} runs; the others have"
            f" the seeds {', '.join(map(str, seeds))}."
        )
    return text


def _teachers(recipe: dict[str, Any], metadata: Metadata) -> str:
    """Return what the targets were, for a network that learned from others."""
    teachers = ", ".join(
        f"{name} (version {metadata.teachers[name]})" if name in metadata.teachers else name
        for name in recipe.get("teachers", ())
    )
    if not teachers:
        return ""
    text = (
        "The target of each changed digit was the mean of these networks' probabilities:"
        f" {teachers}.\n"
    )
    if recipe.get("earlier"):
        text += (
            "Half of the target was instead the answer of earlier versions to the changed digit:"
            f" {', '.join(f'`model/teachers/{name}`' for name in recipe['earlier'])}.\n"
        )
    clean = recipe.get("clean_share", 0)
    if clean:
        text += (
            f"For a corrupted digit, {100 * clean:g} % of it is their answer before the"
            " corruption.\n"
        )
    return text


def _augmentation(recipe: dict[str, Any]) -> str:
    return "\n".join(
        f"| {name.replace('_', ' ')} | {value:g} |"
        for name, value in recipe["augmentation"].items()
    )


def _last_epochs(which: str, epochs: dict[str, Any]) -> str:
    """Return how the last epochs differed from the others."""
    changes = ", ".join(
        f"{name.replace('_', ' ')} {value:g}" for name, value in epochs["augmentation"].items()
    )
    return (
        f"\n{which} {epochs['epochs']} epochs had a learning rate of at most"
        f" {epochs['learning_rate']:g}, {epochs['outlier_share']:g} images that show no digit for"
        f"\neach digit, and these changes: {changes}.\n"
    )
