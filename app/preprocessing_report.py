"""Reports how an image is prepared: every stage, and the prediction without each stage.

Builds on `app.recognise`. Knows images and models; knows nothing of HTTP.
"""

from dataclasses import dataclass, replace

from app.cancellation import check_cancelled
from app.errors import BlankImageError
from app.imaging.decode import Upload
from app.imaging.prepare import prepare_variants
from app.imaging.stages import OPTIONAL_STAGES, REMOVALS
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

    A view that counts is the last stage. The report has no entries in `without` for the other
    stages if the image goes to the network unchanged, or if a candidate counts that is neither the
    prepared one nor the one without the frame.

    Raises:
        DigitscopeError: What `app.recognise.read_image` raises.
    """
    read = warn_of_several(read_image(image, options, record=True), model, options)
    full = predict([read], model)[0]
    stages = [stage.name for stage in full.prepared.stages]
    variants = {
        stage: _prepare_without(stage, read.upload, options, all_variants="frames" in stages)
        for stage in stages
        if stage in OPTIONAL_STAGES or stage in REMOVALS
    }
    view = full.prepared.view
    if view is not None:
        variants[view] = _without_view(read, view)
    predictions = iter(predict([variant for variant in variants.values() if variant], model))
    without = [
        WithoutStage(stage, next(predictions) if variant else None)
        for stage, variant in variants.items()
    ]
    return PreparationReport(full, tuple(without))


def _prepare_without(
    stage: str, upload: Upload, options: Options, *, all_variants: bool
) -> PreparedImage | None:
    """Return the image without a stage, as the first variant or all; None if it has no ink.

    A frame is removed in another variant than the first, and the network chooses among all.
    """
    check_cancelled()  # a photo takes as long as the first time
    variants = prepare_variants(upload, polarity=options.polarity, skip=frozenset({stage}))
    try:
        return PreparedImage(upload, tuple(variants) if all_variants else (next(variants),))
    except BlankImageError:
        return None


def _without_view(read: PreparedImage, view: str) -> PreparedImage:
    """Return the same candidates, of which none is tried in this view."""
    candidates = tuple(
        replace(each, views=tuple(name for name in each.views if name != view))
        for each in read.candidates
    )
    return replace(read, candidates=candidates)
