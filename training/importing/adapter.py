"""The input form: what a network expects, and stock layers that make it from a 28x28 image."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import layers

from training.errors import ImportingError

SIDE = 28
MAX_PADDED = 40  # rows; larger images than this are usually made by resizing
Fit = Literal["same", "padded", "resized", "transposed"]


@dataclass(frozen=True)
class InputForm:
    """What a network expects as its input.

    Attributes:
        shape: Shape without the batch, with unknown sizes filled in.
        side: Rows and columns of the image in it.
        channels: 1, or 3 for three times the same grey image.
        channels_first: Whether the channels come before rows and columns.
        integers: Whether it takes whole numbers, 0..255.
        name: Name of the input, or an empty text.
    """

    shape: tuple[int, ...]
    side: int
    channels: int = 1
    channels_first: bool = False
    integers: bool = False
    name: str = ""

    @property
    def fits(self) -> tuple[Fit, ...]:
        """Return how a 28x28 may become the image, the most usual way first."""
        if self.side == SIDE:
            return ("same",)
        if SIDE < self.side <= MAX_PADDED:
            return ("padded", "resized")
        return ("resized",)

    @property
    def rare_fits(self) -> tuple[Fit, ...]:
        """Return what is tried if the digits are not read: rows and columns exchanged."""
        return ("transposed",) if self.side == SIDE else ()

    def describe(self, fit: Fit) -> str:
        """Return the form in words."""
        parts = ["x".join(map(str, self.shape)) if len(self.shape) > 1 else f"flat {self.shape[0]}"]
        if self.name:
            parts.append(f"named {self.name!r}")
        if fit == "transposed":
            parts.append("rows and columns exchanged")
        elif fit != "same":
            parts.append(f"{fit} from 28x28")
        if self.channels == 3:
            parts.append("grey repeated in three channels")
        if self.channels_first:
            parts.append("channels first")
        return ", ".join(parts)


def find_form(model: keras.Model) -> InputForm:
    """Return the input form of a network.

    Raises:
        ImportingError: It takes several images, or something that is no image of a digit.
    """
    inputs = model.inputs
    if len(inputs) > 1:
        names = ", ".join(str(tensor.name) for tensor in inputs)
        raise ImportingError(
            f"The network takes {len(inputs)} inputs ({names}); a digit is one image."
        )
    structure = input_structure(model)
    name = str(next(iter(structure))) if isinstance(structure, dict) else ""
    dtype = str(inputs[0].dtype)
    return form_of(tuple(inputs[0].shape[1:]), name=name, integers="int" in dtype)


def input_structure(model: keras.Model) -> Any:
    """Return the inputs of a model as it takes them: a tensor, a list or a dictionary."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0]
    return model._inputs_struct


def form_of(shape: tuple[int | None, ...], *, name: str = "", integers: bool = False) -> InputForm:
    """Return the form of an input of this shape, without the batch; None is an unknown size.

    Raises:
        ImportingError: No image of a digit has this shape.
    """
    if len(shape) == 3:
        form = _image(shape)
    elif len(shape) == 1 and shape[0] is not None:
        form = _flat(shape[0])
    else:
        form = _rows(shape)
    if form is None:
        shown = "x".join("?" if size is None else str(size) for size in shape) or "a number"
        raise ImportingError(
            f"The network takes an input of the shape {shown}; expected an image such as 28x28,"
            " 28x28x1, 1x28x28, 32x32x3 or 784 numbers."
        )
    full, side, channels, first = form
    return InputForm(full, side, channels, first, integers, name)


_Form = tuple[tuple[int, ...], int, int, bool]


def _image(shape: tuple[int | None, ...]) -> _Form | None:
    """Read rows, columns and channels, the last first or last."""
    if shape[2] in (1, 3, None) and _side(shape[:2]):
        side = _side(shape[:2])
        channels = shape[2] or 1
        return (side, side, channels), side, channels, False
    if shape[0] in (1, 3) and _side(shape[1:]):
        side = _side(shape[1:])
        return (shape[0], side, side), side, shape[0], True
    return _rows(shape)


def _side(sizes: tuple[int | None, ...]) -> int:
    """Return the size of a square; 0 for another form."""
    known = {size for size in sizes if size is not None}
    if not known:
        return SIDE
    side = known.pop()
    return 0 if known or side < 4 else side


def _flat(size: int) -> _Form | None:
    for channels in (1, 3):
        side = math.isqrt(size // channels)
        if side * side * channels == size and side >= 4:
            return (size,), side, channels, False
    return None


def _rows(shape: tuple[int | None, ...]) -> _Form | None:
    """Read rows as a sequence, or any arrangement of the 784 pixels in their order."""
    if len(shape) == 2 and (side := _side(shape)):
        return (side, side), side, 1, False
    sizes = [size for size in shape if size is not None]
    pixels = SIDE * SIDE
    product = math.prod(sizes)
    unknown = len(shape) - len(sizes)
    if unknown == 1 and product and pixels % product == 0:
        full = tuple(pixels // product if size is None else size for size in shape)
        return full, SIDE, 1, False
    if not unknown and len(shape) > 1 and max(sizes) > 1:
        flat = _flat(product)
        if flat and flat[2] == 1 and flat[1] in (SIDE, 32):
            return tuple(sizes), flat[1], 1, False
    return None


def arrange(form: InputForm, fit: Fit) -> Callable[[Any], Any]:
    """Return a function that arranges an image `[N, 28, 28, 1]` in a form; values stay as they are.

    It makes new stock layers each time it is called.
    """

    def run(image: Any) -> Any:
        if fit == "padded":
            before = (form.side - SIDE) // 2
            margin = (before, form.side - SIDE - before)
            image = layers.ZeroPadding2D((margin, margin), name="input_padding")(image)
        elif fit == "resized":
            image = layers.Resizing(form.side, form.side, name="input_resizing")(image)
        elif fit == "transposed":
            image = layers.Permute((2, 1, 3), name="input_transposed")(image)
        if form.channels > 1:
            image = layers.Concatenate(name="input_channels")([image] * form.channels)
        if form.channels_first and form.channels > 1:
            image = layers.Permute((3, 1, 2), name="input_channels_first")(image)
        if tuple(image.shape[1:]) != form.shape:
            image = layers.Reshape(form.shape, name="input_shape")(image)
        return image

    return run
