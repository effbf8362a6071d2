"""Reports how an image is prepared: every stage, and the prediction without each stage.

Builds on `app.recognise`. Knows images and models; knows nothing of HTTP.
"""

from dataclasses import dataclass

from app.cancellation import check_cancelled
from app.errors import BlankImageError
from app.imaging.decode import Upload
from app.imaging.prepare import prepare_variants
from app.imaging.stages import OPTIONAL_STAGES, REMOVALS, NetworkInput
from app.inference.model import Model
from app.predictions import Prediction, PreparedImage
from app.recognise import ImageInput, Options, predict, read_image, warn_of_several


@dataclass(frozen=True)
class WithoutStage:
    """The prediction when one stage of the preparation is left out.

    Attributes:
        stage: Name of the stage.
        prediction: The prediction without it, or None if no ink is found without it.
    """

    stage: str
    prediction: Prediction | None


@dataclass(frozen=True)
class PreparationReport:
    """The stages of an image's preparation and their effect.

    Attributes:
        prediction: The prediction with all stages, which `prediction.prepared.stages` lists.
        without: The predictions without each stage that can be left out.
    """

    prediction: Prediction
    without: tuple[WithoutStage, ...]


def explain_preparation(image: ImageInput, model: Model, options: Options) -> PreparationReport:
    """Prepare an image with a record of every stage, then again without each stage.

    The report has no `without` entries if the image goes to the network unchanged, or if a
    candidate counts that is neither the prepared one nor the one without the frame.

    Raises:
        DigitscopeError: What `app.recognise.read_image` raises.
    """
    read = warn_of_several(read_image(image, options, record=True), model, options)
    full = predict([read], model)[0]
    stages = [stage.name for stage in full.prepared.stages]
    framed = "frames" in stages
    if full.prepared.passthrough or not (framed or full.prepared is read.candidates[0]):
        return PreparationReport(full, ())
    variants = {
        stage: _prepare_without(stage, read.upload, options, all_variants=framed)
        for stage in stages
        if stage in OPTIONAL_STAGES or stage in REMOVALS
    }
    readable = [PreparedImage(read.upload, prepared) for prepared in variants.values() if prepared]
    predictions = iter(predict(readable, model))
    without = [
        WithoutStage(stage, next(predictions) if prepared else None)
        for stage, prepared in variants.items()
    ]
    return PreparationReport(full, tuple(without))


def _prepare_without(
    stage: str, upload: Upload, options: Options, *, all_variants: bool
) -> tuple[NetworkInput, ...]:
    """Return the image without a stage, as the first variant or all; empty if it has no ink.

    A frame is removed in another variant than the first, and the network chooses among all.
    """
    check_cancelled()  # a photo takes as long as the first time
    variants = prepare_variants(upload, polarity=options.polarity, skip=frozenset({stage}))
    try:
        return tuple(variants) if all_variants else (next(variants),)
    except BlankImageError:
        return ()
