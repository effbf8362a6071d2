"""Writes the model card of an adapted network: both errors before and after."""

from pathlib import Path

from app.bundle import Adapted, Comparison, Interval, Metadata
from training.adapting.report import count
from training.adapting.sureness import Sureness
from training.calibrate import MAX_SURE_ERROR
from training.card import percent


def write_card(metadata: Metadata, adapted: Adapted, sureness: Sureness, folder: Path) -> None:
    """Write `MODEL_CARD.md` into a bundle's folder."""
    (folder / "MODEL_CARD.md").write_text(text(metadata, adapted, sureness))


def text(metadata: Metadata, adapted: Adapted, sureness: Sureness) -> str:
    """Return the card in Markdown."""
    rows = "\n".join(
        _row(name, each)
        for name, each in (
            ("your pictures", adapted.pictures),
            ("MNIST's held-out training digits", adapted.held_out),
        )
    )
    layers = ", ".join(f"`{name}`" for name in adapted.layers)
    verdict = metadata.verdict
    return f"""# Model card: {metadata.name}, version {metadata.version}

{metadata.description} Adapted {metadata.created:%Y-%m-%d}.

## Figures

| images | count | misread before | misread after | mended | spoilt | p |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

The intervals are those of Clopper and Pearson (95 %), p is that of McNemar's exact test.

- Your pictures were read in ten parts, each by a network that had learned others and not this one.
  Copies of a picture were in the same part and count once. The figure after is that of these ten
  networks. The network of this bundle has learned all pictures, so it is not measured on them. The
  ten learned fewer, and some stopped early: the figure and its interval may be too high for this
  network. Both figures are those of the float32 network on the 28x28 that the service prepared for
  `{adapted.model}`.
- The held-out digits were read by both networks as they are served. This network has not learned
  them. `{adapted.model}` may have, in its refit or before an import, so its own error on them may
  be too good; the difference says what this network forgot. The test split was not opened.

## Training

`{adapted.model}`, version {adapted.version}, learned in {layers}; all other weights are as they
were. Its Keras file has the SHA-256 `{adapted.sha256}`.
It learned the labels of your pictures and, so that it forgets nothing, those of training digits of
MNIST; for images without a digit it learned its own answers from before. It took
{adapted.iterations} steps of L-BFGS, and the weights went {adapted.share:.0%} of the way to where
these led.
{_doubtful(adapted)}
## Verdicts

The temperature ({metadata.temperature:.3f}) and the thresholds were chosen on your pictures, as
read above, and on the held-out digits; both count half. An image whose score (energy of the logits)
is below {verdict.not_a_digit_below:.2f} is `not-a-digit`, as are {percent(verdict.false_refusals)}
of these images. An answer with a probability below {verdict.unsure_below:.3f} is `unsure`. At most
{percent(MAX_SURE_ERROR)} of the other answers are wrong, as far as these images tell.
Of your {sureness.pictures:,} pictures, `{adapted.model}` answers {sureness.before:,} surely
(neither `unsure` nor `not-a-digit`), of which {sureness.wrong_before:,} wrong; the ten networks
with these thresholds {sureness.after:,}, of which {sureness.wrong_after:,} wrong.
{_less_sure(sureness)}{_int8(metadata)}
## Limits

The model card of `{adapted.model}` says what this network can be used for; its figures on other
images may have changed. A picture that differs from yours may be read less well than before.
"""


def _row(name: str, found: Comparison) -> str:
    before = _share(found.misread_before, found.images, found.interval_before)
    after = _share(found.misread_after, found.images, found.interval_after)
    return (
        f"| {name} | {found.images:,} | {before} | {after} | {found.mended} | {found.spoilt} |"
        f" {found.p_value:.2g} |"
    )


def _share(count: int, of: int, interval: Interval) -> str:
    return f"{count} ({percent(count / of)}; {percent(interval.low)} to {percent(interval.high)})"


def _less_sure(sureness: Sureness) -> str:
    return "This network misreads fewer, and is sure of fewer.\n" if sureness.falls else ""


def _doubtful(adapted: Adapted) -> str:
    if not adapted.doubtful_labels:
        return ""
    return (
        f"\n{count(adapted.doubtful_labels, 'label looks', 'labels look')} wrong by confident"
        " learning (Northcutt et al., 2021).\n"
    )


def _int8(metadata: Metadata) -> str:
    if not metadata.quantization:
        return ""
    flips = metadata.quantization.validation
    return f"""
## In int8

It is served in int8 (`model.int8.tflite`). Of {flips.digits:,} held-out digits, {flips.changed} are
read differently than in float32: {flips.spoilt} are misread in int8 only, {flips.mended} in float32
only. The largest difference of a probability is {flips.largest_difference:.3f}.
"""
