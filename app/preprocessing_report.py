"""Every stage from the upload to the 28x28, and what would have been read without each of them.

Knows images and models, like `app.recognise`, on which it builds; knows nothing of HTTP.
"""

from dataclasses import dataclass

from app.cancellation import check_cancelled
from app.errors import BlankImageError
from app.imaging.decode import Upload
from app.imaging.prepare import prepare_fully
from app.imaging.stages import SWITCHABLE, Prepared
from app.inference.registry import Model
from app.recognise import ImageInput, Options, Prediction, PreparedImage, predict, read_image


@dataclass(frozen=True)
class Without:
    """What is read when one stage is left out.

    Attributes:
        stage: The stage.
        prediction: What is read then, or None where nothing is left to read.
    """

    stage: str
    prediction: Prediction | None


@dataclass(frozen=True)
class Explained:
    """An image's preparation, laid open.

    Attributes:
        prediction: What is read with all stages; its `prepared` has them recorded.
        without: What is read with one of them left out, for each that can be.
    """

    prediction: Prediction
    without: tuple[Without, ...]


def explain_preparation(image: ImageInput, model: Model, options: Options) -> Explained:
    """Prepare an image with a record of each stage, and again without each of them.

    A MNIST-shaped image goes to the network unchanged, so no stage can be left out.

    Raises:
        DigitscopeError: What `app.recognise.read_image` raises.
    """
    read = read_image(image, options, record=True)
    full = predict([read], model)[0]
    if full.prepared.passthrough or full.prepared is not read.candidates[0]:
        return Explained(full, ())
    tried = [(stage, _without(read.upload, stage, options)) for stage in SWITCHABLE]
    changed = [PreparedImage(read.upload, (prepared,)) for _, prepared in tried if prepared]
    predictions = iter(predict(changed, model))
    without = [Without(stage, next(predictions) if prepared else None) for stage, prepared in tried]
    return Explained(full, tuple(without))


def _without(upload: Upload, stage: str, options: Options) -> Prepared | None:
    check_cancelled()  # a photo takes as long each time
    try:
        return prepare_fully(upload, polarity=options.polarity, skip=frozenset({stage}))
    except BlankImageError:
        return None
