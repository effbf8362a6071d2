"""What a recipe states: everything that decides how a published model comes out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import keras

from training.augment import Augmentation


@dataclass(frozen=True)
class Finish:
    """Last epochs, on digits that are hardly changed.

    Strong changes teach what digits may look like, and also that they look like nothing in
    particular; a few epochs at a low rate on what will be shown bring that right (He et al., 2019,
    arXiv:1909.09148).

    Attributes:
        epochs: How many; as a recipe's `finish` they are the last of its `epochs`.
        learning_rate: From here a cosine to 0.
        augmentation: How the digits are changed.
        outlier_share: Non-digits per digit in every batch.
        copies: Augmented copies that teachers answer, for a recipe that names teachers.
    """

    epochs: int
    learning_rate: float
    augmentation: Augmentation
    outlier_share: float = 0.0
    copies: int = 0


@dataclass(frozen=True)
class Recipe:
    """A way to train one model; each file in `training/recipes` holds one.

    Attributes:
        name: Name of the model and of its bundle's folder.
        description: What the model is, in a sentence or two, for its card and for `GET /models`.
        build: Returns the untrained network, its last layers named `logits` and `softmax`.
        options: Keyword arguments of `build`.
        epochs: Passes over the training digits, those of `finish` included.
        batch_size: Digits per step, outliers on top.
        learning_rate: Peak of the schedule: linear warm-up, then a cosine to 0 (Loshchilov and
            Hutter, 2017), before `finish` starts another.
        weight_decay: Decoupled weight decay (Loshchilov and Hutter, 2019) of kernels only.
        augmentation: How the digits are changed before each step.
        outlier_share: Non-digits per digit in every batch, with the uniform distribution as target.
        label_smoothing: Share of each digit's target that is spread evenly over the ten classes
            (Szegedy et al., 2016).
        optimizer: `adamw` (Loshchilov and Hutter, 2019), or `muon` for the kernels that have
            several input channels (`training.optimizers`).
        warm_up: Epochs in which the learning rate rises from 0 (Goyal et al., 2017).
        cosine: Let the learning rate fall; without, it stays at its peak up to the finish.
        averaging: Decay, per step, of the moving average of the weights that is kept at the end
            (Polyak and Juditsky, 1992); 0 keeps the last weights.
        teachers: Names of published models; the mean of their probabilities is the target of each
            changed digit, instead of its label.
        copies: Augmented copies of the digits that the teachers answer; epochs take them in turn.
        clean_share: How much of a corrupted digit's target is what the teachers said of it before
            that, 0..1; the rest is what they say of what the pupil sees.
        finish: How the last epochs differ from the others.
        refit: Further epochs that the trained network gets on all 60,000 digits, the held-out ones
            too, once they have served for every choice; what is published is the network after
            them. Its learning rate rises to its peak over the first of these epochs.
        precision: What convolutions and dense layers compute in while training, `float32` or
            `mixed_bfloat16` (weights, logits and loss stay float32; Kalamkar et al., 2019,
            arXiv:1905.12322). What is published computes in float32.
        int8: Serve the network in int8 (`training.quantize`).
        validation_count: Digits held out of the 60,000, the same number of each class for every
            choice.
    """

    name: str
    description: str
    build: Callable[..., keras.Sequential]
    options: dict[str, Any]
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    augmentation: Augmentation
    outlier_share: float
    label_smoothing: float = 0.0
    optimizer: Literal["adamw", "muon"] = "adamw"
    warm_up: int = 1
    cosine: bool = True
    averaging: float = 0.0
    teachers: tuple[str, ...] = ()
    copies: int = 0
    clean_share: float = 0.0
    finish: Finish | None = None
    refit: Finish | None = None
    precision: str = "float32"
    int8: bool = False
    validation_count: int = 5000

    def __post_init__(self) -> None:
        """Check that there are epochs before the finish, and copies if others teach."""
        if self.main_epochs < 1:
            raise ValueError(f"{self.name}: a finish as long as the whole training leaves nothing.")
        stages = {"training": self, "finish": self.finish, "refit": self.refit}
        for name, stage in stages.items():
            if self.teachers and stage and not stage.copies:
                raise ValueError(f"{self.name}: the {name} needs copies that the teachers answer.")

    @property
    def main_epochs(self) -> int:
        """Return the number of epochs before `finish`."""
        return self.epochs - (self.finish.epochs if self.finish else 0)

    def shown_in(self, epoch: int) -> tuple[Augmentation, float]:
        """Return how digits are changed, and the share of outliers, in an epoch, counted from 0."""
        if self.finish and epoch >= self.main_epochs:
            return self.finish.augmentation, self.finish.outlier_share
        return self.augmentation, self.outlier_share

    def refitting(self) -> "Recipe":
        """Return `refit` as a recipe, to be trained from the weights that this one ends with."""
        if not self.refit:
            raise ValueError(f"{self.name} has no refit.")
        return replace(
            self,
            epochs=self.refit.epochs,
            learning_rate=self.refit.learning_rate,
            augmentation=self.refit.augmentation,
            outlier_share=self.refit.outlier_share,
            copies=self.refit.copies,
            finish=None,
            refit=None,
        )

    def describe(self) -> dict[str, Any]:
        """Return what decides the outcome as JSON-able values, without settings that are not used.

        So a setting that came later changes nothing in what older recipes say.
        """
        said = {**asdict(self), "build": self.build.__name__, "teachers": list(self.teachers)}
        del said["description"]
        for setting in fields(self):
            if getattr(self, setting.name) == setting.default:
                del said[setting.name]
        said["validation_count"] = self.validation_count  # is always used
        return said


@dataclass(frozen=True)
class Ensemble:
    """Several recipes whose networks vote with equal weights, published as one.

    Attributes:
        name: Name of the model and of its bundle's folder.
        description: What the model is, in a sentence or two.
        members: Each is trained on its own; all hold out the same digits. Their names differ.
        seeds: The seed of each member's weights, order, augmentation and dropout.
    """

    name: str
    description: str
    members: tuple[Recipe, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that every member has a name of its own, and a seed."""
        names = {member.name for member in self.members}
        if not len(names) == len(self.members) == len(self.seeds):
            raise ValueError(f"{self.name}: each member needs a name of its own and a seed.")

    def describe(self) -> dict[str, Any]:
        """Return what decides the outcome as JSON-able values."""
        members = [
            {**member.describe(), "seed": seed}
            for member, seed in zip(self.members, self.seeds, strict=True)
        ]
        return {"name": self.name, "members": members}
