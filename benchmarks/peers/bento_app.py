"""BentoML, as its documentation has it: a service class with an API that takes an image."""

from pathlib import Path

import bentoml
import numpy as np
from digits import Digits
from PIL.Image import Image


@bentoml.service(workers=1)
class DigitsService:
    """One worker."""

    def __init__(self) -> None:
        """Load the network."""
        self.digits = Digits()

    @bentoml.api(route="/form")
    def form(self, file: Image) -> dict:
        """Read a form's file."""
        return self.digits.answer(np.asarray(file.convert("L")))

    @bentoml.api(route="/predict")
    def predict(self, file: Path, /) -> dict:
        """Read a raw body."""
        return self.digits.read(file.read_bytes())
