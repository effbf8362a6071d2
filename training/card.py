"""The model card and its plots, made from the metadata and the evaluation.

Model cards: Mitchell et al., 2019, arXiv:1810.03993.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app import bundle
from app.bundle import Evaluation, Metadata, Quantization, Robustness
from training.data import Split

MAX_DRAWN = 100  # misread digits; matplotlib takes minutes for a thousand
REFITTED = """ After all choices they
went on over all 60,000 digits; validation and robustness are of the weights before that."""
# Digits of the test split whose label fewer than three of five people confirmed, when Northcutt et
# al. asked (2021, arXiv:2103.14749; their published answers, `mturk/mnist_mturk.json`).
DISPUTED = frozenset(
    {947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729}
)
LIMITS = """\
## Intended use and limits

Single handwritten digits 0 to 9, as employees of the United States Census Bureau and high-school
students wrote them around 1990. Digits of other habits (a crossed 7, a 1 with a long flag, a closed
4) are rarer in MNIST and read less well. The network was not made for letters, signs or several
digits in one image, and not for decisions where a wrong digit harms somebody. A probability says
how often such an answer is right on images like MNIST, and less on others.
"""


def write(metadata: Metadata, folder: Path, test: Split | None) -> None:
    """Write `MODEL_CARD.md` and `plots/` into a bundle's folder.

    Args:
        metadata: What the card tells.
        folder: The bundle's folder.
        test: The test split, for the pictures of the misread digits; None leaves them out.
    """
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    evaluation = metadata.test or metadata.validation
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        if metadata.epochs:
            _save(_curves(metadata), plots / "curves.png")
        _save(_confusion(evaluation), plots / "confusion.png")
        _save(_reliability(evaluation), plots / "reliability.png")
        if metadata.test and test:
            _save(_misread(metadata.test, test), plots / "misread.png")
    (folder / "MODEL_CARD.md").write_text(text(metadata))


def percent(share: float) -> str:
    """Write a share as the card does."""
    return f"{100 * share:.2f} %"


def figures(evaluation: Evaluation) -> str:
    """Write the figures of a split in one line, as the card and `digitscope evaluate` give them."""
    low, high = evaluation.interval.low, evaluation.interval.high
    return (
        f"{evaluation.split}: {evaluation.errors} of {evaluation.digits} misread, error"
        f" {percent(evaluation.error_rate)} (95 % interval {percent(low)} to {percent(high)}),"
        f" accuracy {percent(1 - evaluation.error_rate)}, negative log-likelihood"
        f" {evaluation.negative_log_likelihood:.5f}, calibration error"
        f" {evaluation.expected_calibration_error:.5f}"
    )


def text(metadata: Metadata) -> str:
    """Return the card in Markdown."""
    return (
        _opening(metadata)
        + _quality(metadata)
        + _int8(metadata.quantization)
        + _robustness(metadata.robustness)
        + _origin(metadata)
        + LIMITS
    )


def _opening(metadata: Metadata) -> str:
    return f"""# Model card: {metadata.name}, version {metadata.version}

{metadata.description}

Generated from `metadata.json`; made {metadata.created:%Y-%m-%d}.

"""


def _quality(metadata: Metadata) -> str:
    """Return the sections on the figures and on the misread digits."""
    measured = metadata.test or metadata.validation
    misread = (
        f"![{_drawn(metadata.test)} of the test split](plots/misread.png)\n\n"
        + _misread_table(metadata.test)
        if metadata.test
        else "The test split was not read when this model was made."
    )
    rows = "\n".join(_row(split) for split in (metadata.validation, metadata.test) if split)
    weights = (
        f"epoch {metadata.published_epoch} of\n{len(metadata.epochs)}"
        if metadata.epochs
        else "the members,\neach at the end of its training"
    )
    calibrated = (
        f"before the temperature ({metadata.temperature:.3f}) their calibration\nerror was"
        if metadata.epochs
        else "each member has a temperature of its own,\nand one more is shared by all; before that"
        " the calibration error was"
    )
    refitted = REFITTED if metadata.refitted else ""
    served = bundle.INT8_FILE if metadata.quantization else bundle.COMPILED_FILE
    curves = "![Training curves](plots/curves.png)\n\n" if metadata.epochs else ""
    return f"""## Figures

Taken through the compiled network that is served (`{served}`).

| split | digits | misread | error | 95 % interval | log-likelihood | calibration error |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

The log-likelihood is negative, a mean, in nats; intervals are Clopper-Pearson; the calibration
error has 15 bins. The weights are those of {weights}.{refitted} The validation
digits chose the temperature and the thresholds, so their figures are a little too good;
{calibrated} {metadata.calibration_error_before:.5f}.
The test split was opened once, after all that.

| size | |
| --- | --- |
| parameters | {metadata.parameters:,} |
| multiply-adds per image | {metadata.multiply_adds:,} |{_time(metadata.microseconds)}

{curves}![Confusion matrix, {measured.split} split](plots/confusion.png)

![Reliability diagram, {measured.split} split](plots/reliability.png)

## The misread digits

{misread}

"""


def _time(microseconds: float | None) -> str:
    """Return a further row of the table of sizes."""
    if microseconds is None:
        return ""
    return (
        f"\n| microseconds per image, on one thread where it was published | {microseconds:.0f} |"
    )


def _int8(quantization: Quantization | None) -> str:
    """Return what it costs to serve the network in int8, if it is."""
    if not quantization:
        return ""
    splits = {"validation": quantization.validation, "test": quantization.test}
    rows = "\n".join(
        f"| {split} | {flips.digits} | {flips.changed} | {flips.spoilt} | {flips.mended} |"
        f" {flips.mean_difference:.5f} | {flips.largest_difference:.3f} |"
        for split, flips in splits.items()
        if flips
    )
    return f"""## In int8

Served with int8 convolutions (`model.int8.tflite`); logits, softmax and what reads the picture
itself, the first convolution, are float32. Layers and explanations are shown of the float32 network
(`model.keras`, `model.tflite`). Digit by digit:

| split | digits | other answer | misread in int8 only | in float32 only | probability, mean \
difference | largest |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

"""


def _robustness(robustness: Robustness | None) -> str:
    """Return how the network stands corrupted digits and things that are no digit."""
    if not robustness:
        return ""
    errors, areas = robustness.corruptions, robustness.nondigits
    mean = sum(errors.values()) / len(errors)
    corrupted = "\n".join(f"| {kind} | {percent(error)} |" for kind, error in errors.items())
    strange = "\n".join(f"| {kind} | {area:.4f} |" for kind, area in areas.items())
    return f"""## Robustness

The same {robustness.digits:,} held-out digits under each corruption of MNIST-C (Mu and Gilmer,
2019), given to the network as they are, without the service's preparation.

| corruption | error |
| --- | --- |
{corrupted}
| **mean** | {percent(mean)} |

Things that are no digit, prepared as the service does: Latin letters in other fonts than training
shows, and Greek letters, drawings and textures that it does not. AUROC: how often a held-out digit
has the higher energy score.

| kind | AUROC |
| --- | --- |
{strange}

"""


def _origin(metadata: Metadata) -> str:
    """Return the sections on the data, the training and the thresholds of the verdicts."""
    recipe, verdict = metadata.recipe, metadata.verdict
    members = recipe.get("members", [recipe])
    trained = "\n".join(_training(member, metadata) for member in members)
    return f"""## Data

MNIST (LeCun, Cortes and Burges): {60000 - metadata.validation.digits:,} digits to learn from and
{metadata.validation.digits:,} held out, stratified by class, from the training split; the official
10,000 for the test. The files were checked against the published MD5 sums.

## Training

{trained}
## Verdicts

An image whose score (energy of the logits) is under {verdict.not_a_digit_below:.2f} is
`not-a-digit`; {percent(verdict.false_refusals)} of the held-out digits fall there. An answer with a
probability under {verdict.unsure_below:.3f} is `unsure`.

"""


def _training(recipe: dict[str, Any], metadata: Metadata) -> str:
    """Return how one network was trained."""
    libraries = ", ".join(f"{name} {number}" for name, number in metadata.libraries.items())
    augmentation = "\n".join(
        f"| {name.replace('_', ' ')} | {value:g} |"
        for name, value in recipe["augmentation"].items()
    )
    teachers = ", ".join(
        f"{name} (version {metadata.teachers[name]})" if name in metadata.teachers else name
        for name in recipe.get("teachers", ())
    )
    clean = recipe.get("clean_share", 0)
    before = (
        f"Of a corrupted one, {100 * clean:g} % of it is what they said before the corruption.\n"
        if clean
        else ""
    )
    taught = (
        "The target of each changed digit was the mean of the probabilities that these networks"
        f" give it: {teachers}.\n{before}"
        if teachers
        else ""
    )
    stopped = metadata.epochs and len(metadata.epochs) < recipe["epochs"]
    finish = _last("The last", recipe["finish"]) if recipe.get("finish") and not stopped else ""
    refit = ""
    if metadata.refitted and recipe.get("refit"):
        refit = _last("On all 60,000 digits, a further", recipe["refit"])
    ended = f", stopped after {len(metadata.epochs)}," if stopped else ","
    length = f"{recipe['epochs']} epochs{ended} batches of {recipe['batch_size']}"
    optimizer = "Muon for the kernels" if recipe.get("optimizer") == "muon" else "AdamW"
    return f"""Recipe `{recipe["name"]}`: {length}, {optimizer}
with a peak learning rate of {recipe["learning_rate"]:g}, seed {recipe.get("seed", metadata.seed)}.
{taught}Made with {libraries}.

| augmentation | |
| --- | --- |
{augmentation}

For each digit {recipe["outlier_share"]:g} things that are no digit were shown, with uniform
targets.
{finish}{refit}"""


def _last(which: str, epochs: dict[str, Any]) -> str:
    """Return in what last epochs differed."""
    changes = ", ".join(
        f"{name.replace('_', ' ')} {value:g}" for name, value in epochs["augmentation"].items()
    )
    return (
        f"\n{which} {epochs['epochs']} epochs had a learning rate of at most"
        f" {epochs['learning_rate']:g}, {epochs['outlier_share']:g} things that are no digit for"
        f"\neach digit, and these changes: {changes}.\n"
    )


def _row(evaluation: Evaluation) -> str:
    interval = f"{percent(evaluation.interval.low)} to {percent(evaluation.interval.high)}"
    return (
        f"| {evaluation.split} | {evaluation.digits} | {evaluation.errors} |"
        f" {percent(evaluation.error_rate)} | {interval} | {evaluation.negative_log_likelihood:.5f}"
        f" | {evaluation.expected_calibration_error:.5f} |"
    )


def _drawn(evaluation: Evaluation) -> str:
    """Say which misread digits are drawn."""
    if len(evaluation.misread) <= MAX_DRAWN:
        return "The misread digits"
    return f"The {MAX_DRAWN} digits misread with most confidence"


def _misread_table(evaluation: Evaluation) -> str:
    disputed = [miss.index for miss in evaluation.misread if miss.index in DISPUTED]
    rows = [
        f"| {miss.index} | {miss.label}{' (disputed)' if miss.index in DISPUTED else ''} |"
        f" {miss.digit} | {100 * miss.confidence:.1f} % |"
        for miss in evaluation.misread
    ]
    head = ["| index | label | read as | with |", "| --- | --- | --- | --- |"]
    note = (
        f"\n{len(disputed)} of these have labels that are disputed in the literature (Northcutt et"
        " al., 2021,\narXiv:2103.14749); all figures count the official ones."
    )
    return "\n".join([*head, *rows, note])


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})


def _curves(metadata: Metadata) -> Figure:
    """Plot error and loss over the epochs; augmented training digits lie higher."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [figures.epoch for figures in metadata.epochs]
    pairs = (
        (
            left,
            "error, %",
            [100 * (1 - e.accuracy) for e in metadata.epochs],
            [100 * (1 - e.val_accuracy) for e in metadata.epochs],
        ),
        (
            right,
            "negative log-likelihood, nats",
            [e.loss for e in metadata.epochs],
            [e.val_loss for e in metadata.epochs],
        ),
    )
    for axes, label, train, held_out in pairs:
        axes.plot(epochs, train, label="training (augmented, with dropout)", color="0.6")
        axes.plot(epochs, held_out, label="validation", color="tab:blue")
        axes.axvline(metadata.published_epoch, color="tab:blue", linewidth=0.6, linestyle=":")
        axes.set(xlabel="epoch", ylabel=label, yscale="log")
    left.legend(frameon=False)
    return figure


def _confusion(evaluation: Evaluation) -> Figure:
    """Draw the confusion matrix with its diagonal left pale, so that the errors show."""
    counts = np.array(evaluation.confusion)
    wrong = counts * (1 - np.eye(10, dtype=np.int64))
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=max(1, wrong.max()) * 1.5)
    for label in range(10):
        for digit in range(10):
            if counts[label, digit]:
                axes.text(
                    digit, label, str(counts[label, digit]), ha="center", va="center", fontsize=8
                )
    axes.set(
        xticks=range(10),
        yticks=range(10),
        xlabel="read as",
        ylabel="label",
        title=f"{evaluation.split} split",
    )
    return figure


def _reliability(evaluation: Evaluation) -> Figure:
    """Plot accuracy against confidence; the size of a dot tells how many digits it stands for."""
    figure = Figure(figsize=(4.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle="--")
    groups = evaluation.reliability
    axes.plot([g.confidence for g in groups], [g.accuracy for g in groups], color="tab:blue")
    for group in groups:
        size = 20 + 12 * np.log10(group.digits)
        axes.scatter(group.confidence, group.accuracy, s=size, color="tab:blue")
        axes.annotate(
            f"{group.digits:,}",
            (group.confidence, group.accuracy),
            textcoords="offset points",
            xytext=(6, -9),
            fontsize=7,
        )
    axes.set(
        xlabel="confidence",
        ylabel="share that is right",
        title=f"{evaluation.split} split, digits per bin",
    )
    return figure


def _misread(evaluation: Evaluation, digits: Split) -> Figure:
    """Draw the `MAX_DRAWN` digits misread with most confidence, the least confident first."""
    shown = sorted(evaluation.misread, key=lambda miss: miss.confidence)[-MAX_DRAWN:]
    columns = 10
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(columns * 0.95, rows * 1.25), layout="constrained")
    grid: list[Axes] = list(np.atleast_1d(figure.subplots(rows, columns, squeeze=False).ravel()))
    for axes in grid:
        axes.axis("off")
    for axes, miss in zip(grid, shown, strict=False):
        axes.imshow(digits.images[miss.index], cmap="gray_r")
        axes.set_title(f"{miss.label} as {miss.digit}\n{100 * miss.confidence:.0f} %", fontsize=7)
    return figure
