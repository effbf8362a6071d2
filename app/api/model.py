"""A model of the Python API: recognises digits, and shows how the network saw an image.

Each method gives what the route of the same name of the HTTP API gives. Knows models and images;
knows nothing of settings or of HTTP.
"""

from collections.abc import Mapping
from functools import cached_property

from app.api import conversion, notebook
from app.api.arguments import (
    ExplainMethod,
    check_flag,
    check_range,
    check_used,
    completed_errors,
    to_integer,
)
from app.api.images import Image
from app.api.layers import Activations, Explanation, Layer, Layers, Unit
from app.api.recogniser import Recogniser
from app.imaging.polarity import Polarity
from app.inspection.activations import InspectedImage, inspect_image
from app.inspection.attribution import METHODS, find_method
from app.inspection.explanation import ExplainRequest, explain
from app.inspection.methods.integrated_gradients import MAX_STEPS, MIN_STEPS
from app.inspection.provenance import explain_unit, find_unit
from app.inspection.score import check_classes
from app.network import network
from app.recognise import Preprocess


class Model(Recogniser):
    """A network that reads digits; `digitscope.load` returns one.

    Its methods may be called from several threads at the same time. A model can be sent to another
    process, which loads the same bundle.

    Each method takes one image in any of these forms:

    - the path of an image file (`str` or `pathlib.Path`), its bytes, or a file object opened for
      reading bytes: PNG, JPEG, WebP, BMP, GIF, TIFF or HEIC;
    - an image of Pillow, in any mode, turned upright by its EXIF orientation;
    - an array, or another object with `__array__`, such as a tensor: `[H, W]`, `[H, W, 1]`,
      `[H, W, 3]`, `[H, W, 4]` or `[784]`, also with an axis of 1 in front. The maximum tells
      whether the numbers are 0..255 or 0..1; other ranges are refused. Fractions of 0..255 are
      rounded. True is white. Give lists as `numpy.asarray(list)`.

    Attributes:
        folder: The bundle's folder.
    """

    @cached_property
    def layers(self) -> Layers:
        """Return the layers in order; `layers[3]` and `layers["conv_1"]` are single ones."""
        return conversion.to_layers(self._served.network)

    def activations(
        self,
        image: Image,
        layer: str | int | Layer,
        *,
        preprocess: Preprocess = "auto",
        polarity: Polarity = "auto",
    ) -> Activations:
        """Return the exact output of one layer for an image.

        Args:
            image: The image, see the class.
            layer: Its name or index, or one of `layers`; -1 is the last.
            preprocess: See `predict`.
            polarity: See `predict`.

        Raises:
            NotFoundError: There is no such layer.
            DigitscopeError: What `predict` raises.
        """
        wanted = self._find(layer)
        inspected = self._inspect(image, preprocess, polarity)
        prediction = self._prediction(inspected.prediction)
        return conversion.to_activations(inspected, self.layers[wanted.index], prediction)

    def inspect(
        self, image: Image, *, preprocess: Preprocess = "auto", polarity: Polarity = "auto"
    ) -> Mapping[str, Activations]:
        """Return the exact output of every layer for an image, by the layer's name.

        Args:
            image: The image, see the class.
            preprocess: See `predict`.
            polarity: See `predict`.

        Raises:
            DigitscopeError: What `predict` raises.
        """
        inspected = self._inspect(image, preprocess, polarity)
        prediction = self._prediction(inspected.prediction)
        return {
            layer.name: conversion.to_activations(inspected, layer, prediction)
            for layer in self.layers
        }

    def unit(
        self,
        image: Image,
        layer: str | int | Layer,
        *,
        channel: int | None = None,
        y: int | None = None,
        x: int | None = None,
        preprocess: Preprocess = "auto",
        polarity: Polarity = "auto",
    ) -> Unit:
        """Show where one number of a layer comes from: its equation, and what it depends on.

        Args:
            image: The image, see the class.
            layer: Its name or index, or one of `layers`.
            channel: Channel, or unit of a layer without rows and columns; None for the one with the
                largest value.
            y: Row; without `y` and `x`, the position of the largest value.
            x: Column; left out in a layer of rows and channels.
            preprocess: See `predict`.
            polarity: See `predict`.

        Raises:
            NotFoundError: There is no such layer or unit.
            UnsupportedLayerError: The layer's arithmetic is not known.
            DigitscopeError: What `predict` raises.
        """
        wanted = self._find(layer)
        channel, y, x = to_integer("channel", channel), to_integer("y", y), to_integer("x", x)
        inspected = self._inspect(image, preprocess, polarity)
        with completed_errors():
            address = find_unit(inspected, wanted, channel, y, x)
            found = explain_unit(inspected, wanted, address)
        prediction = self._prediction(inspected.prediction)
        return conversion.to_unit(found, self.layers[wanted.index], prediction)

    def explain(
        self,
        image: Image,
        *,
        method: ExplainMethod = "integrated-gradients",
        target: int | None = None,
        contrast: int | None = None,
        layer: str | int | Layer | None = None,
        steps: int | None = None,
        checks: bool = True,
        preprocess: Preprocess = "auto",
        polarity: Polarity = "auto",
    ) -> Explanation:
        """Map how much each pixel contributes to a logit, or to the difference of two.

        Args:
            image: The image, see the class.
            method: `gradient`, `smoothgrad`, `integrated-gradients`, `grad-cam` or `occlusion`.
            target: The class whose logit is explained; None for the predicted one.
            contrast: The class whose logit is subtracted: why `target` and not this?
            layer: The layer whose channels are weighted, for `grad-cam`; None for the last
                convolution.
            steps: Number of steps from black to the image, 8..256, for `integrated-gradients`; None
                for as many as are needed.
            checks: Whether to check the map, which takes most of the time.
            preprocess: See `predict`.
            polarity: See `predict`.

        Raises:
            NotFoundError: There is no such layer.
            InvalidInputError: There is no such method or class, the method does not use `layer` or
                `steps`, or the layer does not suit it.
            UnsupportedLayerError: The derivative of a layer is not known.
            DigitscopeError: What `predict` raises.
        """
        options = self._options_for(preprocess, polarity)
        target, contrast = to_integer("target", target), to_integer("contrast", contrast)
        check_classes(self._served, target=target, contrast=contrast)
        found_method = find_method(str(method))
        check_used("layer", layer, found_method, METHODS.values())
        check_used("steps", steps, found_method, METHODS.values())
        steps = to_integer("steps", steps)
        check_range("steps", steps, MIN_STEPS, MAX_STEPS)
        check_flag("checks", checks)
        address = None if layer is None else self._find(layer).name
        request = ExplainRequest(found_method.name, target, contrast, address, steps, bool(checks))
        with completed_errors(image):
            found = explain(self._read(image), self._served, options, request)
        return conversion.to_explanation(found, self._served)

    def __repr__(self) -> str:
        """Return name, version and size in one line."""
        return f"<digitscope model {self._title()}>"

    def _repr_html_(self) -> str:
        return notebook.layers_html(self.layers, self._title())

    def _title(self) -> str:
        return (
            f"{self.name!r} version {self.version}: {len(self.classes)} classes,"
            f" {len(self.layers)} layers, {self.metadata.parameters:,} parameters"
        )

    def _find(self, layer: str | int | Layer) -> network.Layer:
        address = layer.name if isinstance(layer, Layer) else layer
        network = self._served.network
        if not isinstance(address, str):
            index = to_integer("layer", address, "a name or an index")
            if index is not None and -len(network.layers) <= index < 0:
                index += len(network.layers)
            address = str(index)
        with completed_errors():
            return network.find(address)

    def _inspect(self, image: Image, preprocess: Preprocess, polarity: Polarity) -> InspectedImage:
        options = self._options_for(preprocess, polarity)
        with completed_errors(image):
            return inspect_image(self._read(image), self._served, options)
