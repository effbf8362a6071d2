"""The model card, written from a bundle's metadata.

Model cards: Mitchell et al., 2019, arXiv:1810.03993.
"""

from pathlib import Path

from app import bundle
from app.bundle import Evaluation, Metadata, Quantization, Robustness
from training import card_readings, data, plots
from training.card_training import describe_training
from training.data import Split
from training.nondigits import UNSEEN_NONDIGITS

# Digits of the test split whose label fewer than three of five people confirmed in the study of
# Northcutt et al. (2021, arXiv:2103.14749; published answers: `mturk/mnist_mturk.json`).
DISPUTED = frozenset(
    {947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729}
)
REFITTED = """
After every choice was made, the network was trained for a few more epochs on all 60,000 digits (the
refit). The figures of validation and robustness are those of the network before the refit, which
has not seen the held-out digits. The bundle stores that network's answers on them
(`predictions.npz`), but not the network: `digitscope evaluate` recomputes the figures of
validation; those of robustness{in_int8} can no longer be recomputed.
"""
# What training shows of the kinds that measure the score: the networks before version 8 of
# `compact`, which were not measured on houses, flowers and stick figures, and the later ones.
NO_DRAWINGS = """\
Prepared as the service does: Latin letters in fonts that training does not show, and Greek letters,
drawings and textures, which it does not show at all. AUROC is the probability that a held-out digit
has the higher energy score."""
OTHER_DRAWINGS = """\
Prepared as the service does. Training shows no Greek letters, and Latin ones in other fonts. Since
version 8 of `compact` it shows shapes, faces, walks and textures that other code draws.
AUROC is the probability that a held-out digit has the higher energy score."""
LIMITS = """\
## Intended use and limits

The model reads single handwritten digits from 0 to 9, as employees of the United States Census
Bureau and high-school students wrote them around 1990. Other shapes (a crossed 7, a 1 with a long
flag, a closed 4) are rarer in MNIST and are read less well. The network was not made for letters,
signs or several digits in one image, and not for decisions in which a misread digit harms somebody.
A probability says how often such an answer is right on images like MNIST; on other images, answers
are right less often.
"""


def write(metadata: Metadata, folder: Path, test: Split | None) -> None:
    """Write `MODEL_CARD.md` and `plots/` into a bundle's folder.

    Args:
        metadata: The content of the card.
        folder: The bundle's folder.
        test: The test split, for the images of the misread digits; None leaves these out.
    """
    plots.write_plots(metadata, folder / "plots", test)
    (folder / "MODEL_CARD.md").write_text(text(metadata))


def percent(share: float) -> str:
    """Return a share as a percentage with two decimals."""
    return f"{100 * share:.2f} %"


def figures(evaluation: Evaluation) -> str:
    """Return the figures of a split in one line."""
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
    """Return the sections with the figures and the misread digits."""
    measured = metadata.test or metadata.held_out
    rows = "\n".join(_row(split) for split in (metadata.validation, metadata.test) if split)
    served = bundle.INT8_FILE if metadata.quantization else bundle.COMPILED_FILE
    curves = "![Training curves](plots/curves.png)\n\n" if metadata.epochs else ""
    return f"""## Figures

Measured with the compiled network that is served (`{served}`).

| split | digits | misread | error | 95 % interval | log-likelihood | calibration error |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

The log-likelihood is the mean negative log-likelihood in nats, the intervals are those of Clopper
and Pearson, and the calibration error has 15 bins. The weights are those of {_weights(metadata)}.
{_refitted(metadata)}
The validation digits chose the temperature and the thresholds, so their figures are slightly too
good. {_calibrated(metadata)} {metadata.calibration_error_before:.5f}.
{_opened(metadata)}

| size | |
| --- | --- |
| parameters | {metadata.parameters:,} |
| multiply-adds per image | {metadata.multiply_adds:,} |{_time(metadata.microseconds)}

{curves}![Confusion matrix, {measured.split} split](plots/confusion.png)

![Reliability diagram, {measured.split} split](plots/reliability.png)

## The misread digits

{_misread(metadata.test)}

"""


def _opened(metadata: Metadata) -> str:
    """Return how often the test split was opened for these weights."""
    if not metadata.test:
        return "The test split was not opened."
    if metadata.opened_with:
        return (
            f"The weights are those of version {metadata.opened_with}, for which the test split was"
            " opened before;\nthey were only compiled again."
        )
    return "The test split was opened once, after every choice was made."


def _weights(metadata: Metadata) -> str:
    if not metadata.epochs:
        return "the members, each at the end of its training"
    return f"epoch {metadata.published_epoch} of {len(metadata.epochs)}"


def _refitted(metadata: Metadata) -> str:
    if not metadata.refitted:
        return ""
    return REFITTED.format(
        in_int8=" and of int8 on the same digits" if metadata.quantization else ""
    )


def _calibrated(metadata: Metadata) -> str:
    """Return the start of the sentence on the calibration error before the temperature."""
    if not metadata.epochs:
        return (
            "Each member has its own temperature and all share another one; before these were\n"
            "applied, the calibration error was"
        )
    return (
        f"Before the temperature of {metadata.temperature:.3f} was applied, their calibration error"
        " was"
    )


def _misread(test: Evaluation | None) -> str:
    if not test:
        return "The test split was not read for this model."
    return f"![{_drawn(test)} of the test split](plots/misread.png)\n\n{_misread_table(test)}"


def _time(microseconds: float | None) -> str:
    """Return another row of the table of sizes."""
    if microseconds is None:
        return ""
    return f"\n| microseconds per image, on one thread when it was made | {microseconds:.0f} |"


def _int8(quantization: Quantization | None) -> str:
    """Return the section on int8, for a network that is served in int8."""
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

The served network has int8 convolutions (`model.int8.tflite`); the first convolution, the logits
and the softmax compute in float32. Layers and explanations come from the float32 network
(`model.keras`, `model.tflite`). The two compared digit by digit:

| split | digits | other answer | misread in int8 only | in float32 only | mean difference of a \
probability | largest |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

"""


def _robustness(robustness: Robustness | None) -> str:
    """Return the section on corrupted digits and images of something else."""
    if not robustness:
        return ""
    errors, areas = robustness.corruptions, robustness.nondigits
    mean = sum(errors.values()) / len(errors)
    corrupted = "\n".join(f"| {kind} | {percent(error)} |" for kind, error in errors.items())
    nondigits = "\n".join(f"| {kind} | {area:.4f} |" for kind, area in areas.items())
    mean_area = sum(areas.values()) / len(areas)
    measured = {reading.name for reading in robustness.readings}
    shown = OTHER_DRAWINGS if measured & set(UNSEEN_NONDIGITS) else NO_DRAWINGS
    return f"""## Robustness
{card_readings.describe(robustness)}
### Corruptions of MNIST-C

The same {robustness.digits:,} held-out digits with each corruption of MNIST-C (Mu and Gilmer,
2019), read by the network without the service's preparation. Each kind has a relative among the
corruptions that most networks here are trained with; impulse noise, light and stripes are stronger
there.

| corruption | error |
| --- | --- |
{corrupted}
| **mean** | {percent(mean)} |

### Images that show no digit

{shown}

| kind | AUROC |
| --- | --- |
{nondigits}
| **mean** | {mean_area:.4f} |

"""


def _origin(metadata: Metadata) -> str:
    """Return the sections on data, training and verdicts."""
    recipe, verdict = metadata.recipe, metadata.verdict
    members = recipe.get("members", [recipe])
    learned_from = data.COUNTS["train"] - metadata.held_out.digits
    trained = "\n".join(describe_training(member, metadata) for member in members)
    return f"""## Data

MNIST (LeCun, Cortes and Burges). Of the training split, {learned_from:,} digits
to learn from and {metadata.held_out.digits:,} held out, stratified by class; the official 10,000
digits for the test. The files were checked against the published MD5 sums.

## Training

{trained}
## Verdicts

An image whose score (energy of the logits) is below {verdict.not_a_digit_below:.2f} is
`not-a-digit`, as are {percent(verdict.false_refusals)} of the held-out digits. An answer with a
probability below {verdict.unsure_below:.3f} is `unsure`.

"""


def _row(evaluation: Evaluation) -> str:
    interval = f"{percent(evaluation.interval.low)} to {percent(evaluation.interval.high)}"
    return (
        f"| {evaluation.split} | {evaluation.digits} | {evaluation.errors} |"
        f" {percent(evaluation.error_rate)} | {interval} | {evaluation.negative_log_likelihood:.5f}"
        f" | {evaluation.expected_calibration_error:.5f} |"
    )


def _drawn(evaluation: Evaluation) -> str:
    """Return which misread digits are drawn."""
    if len(evaluation.misread) <= plots.MAX_DRAWN:
        return "The misread digits"
    return f"The {plots.MAX_DRAWN} digits misread with the highest confidence"


def _misread_table(evaluation: Evaluation) -> str:
    disputed = [miss.index for miss in evaluation.misread if miss.index in DISPUTED]
    rows = [
        f"| {miss.index} | {miss.label}{' (disputed)' if miss.index in DISPUTED else ''} |"
        f" {miss.digit} | {100 * miss.confidence:.1f} % |"
        for miss in evaluation.misread
    ]
    head = ["| index | label | read as | confidence |", "| --- | --- | --- | --- |"]
    note = (
        f"\nThe labels of {len(disputed)} of these are disputed in the literature (Northcutt et"
        " al., 2021,\narXiv:2103.14749); all figures use the official labels."
    )
    return "\n".join([*head, *rows, note])
