"""Checks of the arguments of the Python API, and what its messages add to an error.

Knows arguments and errors; knows nothing of models.
"""

import operator
import os
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import numpy as np
from PIL import Image as pillow

from app.api.images import Image, SupportsArray, is_array, name_of, split_array
from app.api.wording import in_python, list_names
from app.errors import DigitscopeError, InvalidInputError
from app.inspection.methods.method import Method
from app.printable import printable

# The names of app.inspection.attribution.METHODS, for type checkers.
ExplainMethod = Literal["gradient", "smoothgrad", "integrated-gradients", "grad-cam", "occlusion"]


@contextmanager
def completed_errors(image: object = None, index: int | None = None) -> Iterator[None]:
    """Complete the messages of errors: they name the file and list the valid names.

    Args:
        image: The image that is read, or None.
        index: Its index among many, which names an image that comes from no file.
    """
    try:
        yield
    except DigitscopeError as error:
        error.detail = in_python(error.detail)
        name = printable(name_of(image)) or ("" if index is None else f"Image {index}")
        valid = [str(each) for each in error.fields.get("valid", ())]
        if not all(each in error.detail for each in valid):
            error.detail += f" Valid: {list_names(valid)}."
        error.detail = f"{name}: {error.detail}" if name else error.detail
        error.args = (error.detail,)
        raise


def check_choice(argument: str, value: object, valid: Sequence[str]) -> None:
    """Check that an argument has one of its values.

    Raises:
        InvalidInputError: It has another.
    """
    if not isinstance(value, str) or value not in valid:
        raise InvalidInputError(
            f"'{argument}' is {reprlib.repr(value)}; expected one of {', '.join(valid)}.",
            valid=list(valid),
        )


def check_range(argument: str, value: int | None, low: int, high: int) -> None:
    """Check that an argument is None or in a range, both ends included.

    Raises:
        InvalidInputError: It is not.
    """
    if value is not None and not low <= value <= high:
        raise InvalidInputError(f"'{argument}' is {value}; expected {low} to {high}.")


def check_flag(argument: str, value: object) -> None:
    """Check that an argument is True or False; a text such as "no" would count as True.

    Raises:
        InvalidInputError: It is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise InvalidInputError(f"'{argument}' is {reprlib.repr(value)}; expected True or False.")


def to_integer(argument: str, value: Any, expected: str = "an integer") -> int | None:
    """Return an argument as an `int`, or None; NumPy's integers are integers, too.

    Raises:
        InvalidInputError: It is no integer, or True or False, by which nobody means 1 or 0.
    """
    if value is None:
        return None
    with suppress(TypeError):
        if not isinstance(value, bool):
            return operator.index(value)
    raise InvalidInputError(f"'{argument}' is {reprlib.repr(value)}; expected {expected}.")


def check_used(argument: str, value: object, method: Method, methods: Iterable[Method]) -> None:
    """Check that an argument is None, or that an explanation method uses it.

    Raises:
        InvalidInputError: The method would ignore it.
    """
    if value is None or argument in method.parameters:
        return
    using = " or ".join(repr(each.name) for each in methods if argument in each.parameters)
    raise InvalidInputError(
        f"'{argument}' is for the method {using}; {method.name!r} does not use it. Choose that"
        f" method, or leave '{argument}' out."
    )


def several(images: Iterable[Image] | SupportsArray) -> Iterable[Image]:
    """Return the images of an iterable or of an array.

    Raises:
        InvalidInputError: It is one image, or not iterable.
        UndecodableError: It is an array of one image, or of no pixels.
    """
    if isinstance(images, str | bytes | bytearray | os.PathLike | pillow.Image):
        raise InvalidInputError("Expected several images, such as a list; 'predict' takes one.")
    if is_array(images):
        return split_array(images)
    if not isinstance(images, Iterable):
        raise InvalidInputError(f"Expected several images, got {type(images).__name__}.")
    return images
