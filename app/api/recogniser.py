"""The part of a model of the Python API that recognises: digits, pages, and their preparation.

Each method gives what the route of the same name of the HTTP API gives. Knows models and images;
knows nothing of settings or of HTTP.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Any, Literal, get_args, overload

import numpy as np

from app.api import conversion
from app.api.arguments import check_choice, completed_errors, several
from app.api.images import Image, SupportsArray, read
from app.api.results import Page, Prediction, Preparation
from app.bundle import Metadata
from app.errors import DigitscopeError
from app.imaging.polarity import Polarity
from app.inference.model import Model as ServedModel
from app.page_reading import read_page
from app.predictions import Prediction as Recognised
from app.predictions import PreparedImage
from app.preprocessing_report import explain_preparation
from app.recognise import (
    ImageInput,
    Options,
    Preprocess,
    predict,
    read_image,
    recognise,
    warn_of_several,
)

BATCH_SIZE = 32  # images that are prepared before the network runs
_NO_PIXELS = np.empty((0, 0), np.uint8)


class Recogniser:
    """The part of a model that recognises digits; see `digitscope.Model`.

    Attributes:
        folder: The bundle's folder.
    """

    def __init__(
        self, served: ServedModel, options: Options, load: Callable[[str], "Recogniser"]
    ) -> None:
        """Take a loaded model. Users call `digitscope.load` instead.

        Args:
            served: The model.
            options: How images are read by default.
            load: Loads the bundle of a folder in another process.
        """
        self._served, self._options, self._load = served, options, load
        self.folder = served.bundle.folder

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process load the same bundle (`multiprocessing` sends arguments so)."""
        return self._load, (str(self.folder),)

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self._served.bundle.metadata.name

    @property
    def version(self) -> int:
        """Return the model's version, which rises with each published model of this name."""
        return self._served.bundle.metadata.version

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes, in the order of the network's outputs."""
        return tuple(self._served.bundle.metadata.classes)

    @property
    def metadata(self) -> Metadata:
        """Return what the bundle says of the model: data, recipe, figures, thresholds."""
        return self._served.bundle.metadata

    def predict(
        self, image: Image, *, preprocess: Preprocess = "auto", polarity: Polarity = "auto"
    ) -> Prediction:
        """Recognise the digit on one image.

        Args:
            image: The image, see `digitscope.Model`.
            preprocess: `auto` prepares it as MNIST was made; `none` takes a 28x28 as it is.
            polarity: `dark-on-light`, `light-on-dark`, or `auto` to detect it.

        Raises:
            UndecodableError: It is no image, or a damaged one.
            TooLargeError: It has too many pixels, or takes too long or too much memory to decode.
            BlankImageError: It shows no ink.
            InvalidInputError: Its file cannot be opened, it is of another type, a value of an
                argument is not known, or `preprocess` is `none` and it is not 28x28.
        """
        options = self._options_for(preprocess, polarity)
        with completed_errors(image):
            return self._prediction(recognise(self._read(image), self._served, options))

    @overload
    def predict_many(
        self,
        images: Iterable[Image] | SupportsArray,
        *,
        preprocess: Preprocess = "auto",
        polarity: Polarity = "auto",
        on_error: Literal["raise"] = "raise",
    ) -> list[Prediction]: ...

    @overload
    def predict_many(
        self,
        images: Iterable[Image] | SupportsArray,
        *,
        preprocess: Preprocess = "auto",
        polarity: Polarity = "auto",
        on_error: Literal["return"],
    ) -> list[Prediction | DigitscopeError]: ...

    def predict_many(
        self,
        images: Iterable[Image] | SupportsArray,
        *,
        preprocess: Preprocess = "auto",
        polarity: Polarity = "auto",
        on_error: Literal["raise", "return"] = "raise",
    ) -> list[Prediction] | list[Prediction | DigitscopeError]:
        """Recognise the digit on each of many images, `BATCH_SIZE` at a time.

        Args:
            images: The images in any form that `predict` takes, or an array `[N, 28, 28]`,
                `[N, 784]`, `[N, H, W]` or `[N, H, W, C]`, whose range of values is told by all.
            preprocess: See `predict`.
            polarity: See `predict`.
            on_error: `raise` ends with the first image that cannot be read; `return` puts its error
                in the place of its prediction.

        Raises:
            DigitscopeError: What `predict` raises, with the image's index or file in the message.
        """
        options = self._options_for(preprocess, polarity)
        check_choice("on_error", on_error, ("raise", "return"))
        results: list[Prediction | DigitscopeError] = []
        numbered = enumerate(several(images))
        while prepared := [
            self._prepare(image, index, options, on_error)
            for index, image in islice(numbered, BATCH_SIZE)
        ]:
            results += self._predict_prepared(prepared)
        return results

    def read(self, page: Image, *, polarity: Polarity = "auto") -> Page:
        """Read all digits on an image, line by line.

        Args:
            page: The image, see `digitscope.Model`.
            polarity: See `predict`.

        Raises:
            DigitscopeError: What `predict` raises.
        """
        options = self._options_for("auto", polarity)
        with completed_errors(page):
            return conversion.to_page(read_page(self._read(page), self._served, options))

    def preprocess(self, image: Image, *, polarity: Polarity = "auto") -> Preparation:
        """Show how an image becomes the 28x28 that the network receives.

        Args:
            image: The image, see `digitscope.Model`.
            polarity: See `predict`.

        Raises:
            DigitscopeError: What `predict` raises.
        """
        options = self._options_for("auto", polarity)
        with completed_errors(image):
            report = explain_preparation(self._read(image), self._served, options)
        return conversion.to_preparation(report, self._served)

    def _options_for(self, preprocess: Preprocess, polarity: Polarity) -> Options:
        options = self._options
        check_choice("preprocess", preprocess, get_args(Preprocess))
        check_choice("polarity", polarity, get_args(Polarity))
        if (preprocess, polarity) != (options.preprocess, options.polarity):
            options = replace(options, preprocess=preprocess, polarity=polarity)
        return options

    def _read(self, image: Image) -> ImageInput:
        return read(image, max_pixels=self._options.max_pixels)

    def _prediction(self, found: Recognised) -> Prediction:
        return conversion.to_prediction(found, self._served)

    def _prepare(
        self, image: Image, index: int, options: Options, on_error: Literal["raise", "return"]
    ) -> PreparedImage | DigitscopeError:
        """Prepare one of many images; if it cannot be read, raise or return its error.

        The decoded image is dropped: those of a batch would fill the memory. Nothing refers to
        `image` either, because an iterator may reuse its buffer for the next image.
        """
        try:
            with completed_errors(image, index):
                read = read_image(self._read(image), options)
                read = warn_of_several(read, self._served, options)
        except DigitscopeError as error:
            if on_error == "raise":
                raise
            error.__cause__ = error.__context__ = None  # their tracebacks refer to the image
            return error.with_traceback(None)
        return replace(read, upload=replace(read.upload, pixels=_NO_PIXELS, alpha=None))

    def _predict_prepared(
        self, prepared: list[PreparedImage | DigitscopeError]
    ) -> list[Prediction | DigitscopeError]:
        readable = [each for each in prepared if isinstance(each, PreparedImage)]
        found = iter(predict(readable, self._served) if readable else ())
        return [
            self._prediction(next(found)) if isinstance(each, PreparedImage) else each
            for each in prepared
        ]
