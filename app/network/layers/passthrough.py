"""Layers that return their input unchanged at inference: Identity, and what acts in training only.

Dropout: Srivastava et al., 2014.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.network.equation import Equation, UnitInputs, number
from app.network.functions import Array
from app.network.layers.elementwise import Elementwise
from app.network.operation import LayerKind, Operation, SavedLayer, Shapes, no_weights


@dataclass(frozen=True)
class Identity(Elementwise):
    """Returns its input."""

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the input."""
        return inputs[0]

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient as it is."""
        return [grad]

    def tangent(self, inputs: Sequence[Array], output: Array, changes: Sequence[Array]) -> Array:
        """Return the change, treated as the input is: the layer is linear."""
        return self.forward(changes)

    @property
    def slope_name(self) -> str:
        """Return 1."""
        return "1, because the value is passed on"

    @property
    def formula(self) -> str:
        """Return that the value stays."""
        return "y = x"

    def sentence(self, shapes: Shapes) -> str:
        """Return that the input is passed on."""
        return "Passes its input on unchanged."

    def equation(self, at: UnitInputs) -> Equation:
        """Return the value, twice."""
        value = at.same_unit
        return Equation(f"{number(value)} = {number(value)}, unchanged", {"x": value}, value)

    @property
    def changes_values(self) -> bool:
        """Return False."""
        return False


@dataclass(frozen=True)
class TrainingOnly(Identity):
    """Acts in training only; at inference it returns its input.

    Attributes:
        effect: What it does in training, as a sentence.
    """

    effect: str

    def sentence(self, shapes: Shapes) -> str:
        """Return that the layer is inactive, and what it does in training."""
        return f"Inactive once trained: it passes its input on unchanged. {self.effect}"

    @property
    def active_at_inference(self) -> bool:
        """Return False."""
        return False


def _identity(saved: SavedLayer) -> Operation:
    return Identity()


def _dropout(saved: SavedLayer) -> Operation:
    share = f"{100 * float(saved.config['rate']):g} %"
    return TrainingOnly(
        f"In training it sets {share} of the values to 0 at random, so that no unit relies on"
        " another."
    )


def _training_only(effect: str) -> LayerKind:
    return LayerKind(lambda saved: TrainingOnly(effect), no_weights)


# Keras's augmentations of images, and what each does in training.
_AUGMENTATIONS = {
    "RandomFlip": "mirrors images at random",
    "RandomRotation": "rotates images at random",
    "RandomZoom": "enlarges or reduces images at random",
    "RandomTranslation": "shifts images at random",
    "RandomShear": "shears images at random",
    "RandomPerspective": "distorts the perspective of images at random",
    "RandomElasticTransform": "distorts images at random",
    "RandomCrop": "cuts random parts out of images",
    "RandomErasing": "erases a random rectangle of each image",
    "RandomContrast": "changes the contrast at random",
    "RandomBrightness": "changes the brightness at random",
    "RandomGaussianBlur": "blurs images at random",
    "RandomSharpness": "sharpens images at random",
    "RandomInvert": "inverts images at random",
    "RandomPosterization": "reduces the grey levels at random",
    "RandomHue": "changes colours at random",
    "RandomSaturation": "changes colours at random",
    "RandomColorJitter": "changes colours at random",
    "RandomColorDegeneration": "changes colours at random",
    "RandomGrayscale": "removes colours at random",
    "RandAugment": "changes images at random",
    "AugMix": "mixes randomly changed images",
    "MixUp": "mixes pairs of images",
    "CutMix": "pastes parts of images into others",
}

KINDS = {
    "Identity": LayerKind(_identity, no_weights),
    "Dropout": LayerKind(_dropout, no_weights),
    **{
        name: _training_only(f"In training it {effect}.") for name, effect in _AUGMENTATIONS.items()
    },
    "SpatialDropout1D": _training_only("In training it sets whole channels to 0 at random."),
    "SpatialDropout2D": _training_only("In training it sets whole channels to 0 at random."),
    "AlphaDropout": _training_only("In training it replaces values at random."),
    "GaussianDropout": _training_only("In training it multiplies values by random noise."),
    "GaussianNoise": _training_only("In training it adds random noise."),
    "ActivityRegularization": _training_only("In training it penalises large values."),
}
