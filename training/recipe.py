"""What a recipe states: everything that decides how a published model turns out.

Imports no Keras, so that a command can check a recipe at once.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from training.augment import Augmentation

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Finish:
    """Last epochs of a training, on digits that are changed only a little.

    Strong changes teach what digits may look like, but not how they usually look. A few epochs at a
    low learning rate on usual digits correct that (He et al., 2019, arXiv:1909.09148).

    Attributes:
        epochs: Number of epochs. Those of a recipe's `finish` are the last of its `epochs`.
        learning_rate: Learning rate at the start; it falls to 0 along a cosine.
        augmentation: How the digits are changed.
        outlier_share: Non-digits per digit in every batch.
        copies: Number of augmented copies that the teachers answer, for a recipe with copies.
        drawn_share: Digits drawn from strokes (`training.hands`) per digit in every batch.
    """

    epochs: int
    learning_rate: float
    augmentation: Augmentation
    outlier_share: float = 0.0
    copies: int = 0
    drawn_share: float = 0.0


@dataclass(frozen=True)
class EnergyMargin:
    """Limits of the score, which is the energy of the logits (Liu et al., 2020, arXiv:2010.03759).

    A digit's loss grows with the square of what its score lacks to `digits`, an outlier's with the
    square of what it exceeds `outliers` by.

    Attributes:
        digits: Lowest score of a digit, nats.
        outliers: Highest score of an outlier, nats.
        weight: Factor of this loss.
    """

    digits: float
    outliers: float
    weight: float


@dataclass(frozen=True)
class Recipe:
    """How one model is trained; each file in `training/recipes` holds one recipe.

    Attributes:
        name: Name of the model and of its bundle's folder.
        description: One or two sentences about the model, for its card and for `GET /models`.
        build: Function of `training.architectures` that returns the untrained network, whose last
            layers are named `logits` and `softmax`.
        options: Keyword arguments of `build`.
        epochs: Passes over the training digits, including those of `finish`.
        batch_size: Digits per step; outliers are added to them.
        learning_rate: Peak of the schedule: a linear warm-up, then a cosine to 0 (Loshchilov and
            Hutter, 2017). `finish` has its own schedule.
        weight_decay: Decoupled weight decay (Loshchilov and Hutter, 2019), applied to kernels only.
        augmentation: How the digits are changed before each step.
        outlier_share: Non-digits per digit in every batch; their target is the uniform
            distribution.
        label_smoothing: Share of each digit's target that is spread evenly over the ten classes
            (Szegedy et al., 2016).
        optimizer: `adamw` (Loshchilov and Hutter, 2019), or `muon` for kernels with several input
            channels (`training.optimizers`).
        warm_up: Epochs in which the learning rate rises from 0 (Goyal et al., 2017).
        cosine: Whether the learning rate falls; if not, it stays at its peak until the finish.
        averaging: Decay per step of the moving average of the weights, which is what the run keeps
            (Polyak and Juditsky, 1992); 0 keeps the last weights.
        teachers: Names of published models. The mean of their probabilities is the target of each
            changed digit, instead of its label.
        copies: Number of augmented copies of the digits that the teachers answer; the epochs use
            them in turn. 0: the teachers answer the unchanged digits, which are changed anew in
            every epoch.
        clean_share: Share of a corrupted digit's target, 0..1, that is the teachers' answer to the
            digit before it was corrupted; the rest is their answer to what the pupil sees.
        drawn_share: Digits drawn from strokes (`training.hands`) per digit in every batch.
        margin: Limits of the score of digits and outliers, if any.
        seeds: Further seeds. The recipe is trained with each, and the network gets the mean weights
            of all runs (Wortsman et al., 2022, arXiv:2203.05482). They must have the same `start`.
        earlier: Names of files in the folder `teachers` beside the models: weights of earlier
            versions of this network (`training.snapshots`). Half of a changed digit's target is
            their answer to it (Furlanello et al., 2018, arXiv:1805.04770).
        start: Name of a file in the folder `teachers` beside the models, whose weights the training
            starts from (`training.snapshots`); None starts from random ones.
        finish: How the last epochs differ from the others.
        refit: Further epochs of the trained network on all 60,000 digits, after the held-out ones
            have decided every choice. The refitted network is published. The learning rate rises to
            its peak over the first epoch.
        precision: What convolutions and dense layers compute in during training: `float32` or
            `mixed_bfloat16` (weights, logits and loss stay float32; Kalamkar et al., 2019,
            arXiv:1905.12322). The published network computes in float32.
        int8: Whether the network is served in int8 (`training.quantize`).
        validation_count: Number of digits held out of the 60,000, the same share of each class.
    """

    name: str
    description: str
    build: Callable[..., "keras.Sequential"]
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
    drawn_share: float = 0.0
    margin: EnergyMargin | None = None
    seeds: tuple[int, ...] = ()
    earlier: tuple[str, ...] = ()
    start: str | None = None
    finish: Finish | None = None
    refit: Finish | None = None
    precision: str = "float32"
    int8: bool = False
    validation_count: int = 5000

    def __post_init__(self) -> None:
        """Check that epochs remain before the finish, the seeds, and that a pupil has copies."""
        if self.main_epochs < 1:
            raise ValueError(f"{self.name}: the finish needs fewer epochs than the whole training.")
        if self.seeds and not self.start:
            raise ValueError(f"{self.name}: only runs from the same start can be averaged.")
        stages = {"training": self, "finish": self.finish, "refit": self.refit}
        for name, stage in stages.items():
            if self.teachers and stage and bool(stage.copies) != bool(self.copies):
                raise ValueError(
                    f"{self.name}: the {name} needs copies that the teachers answer, as the others"
                    " do, or none of them does."
                )

    @property
    def main_epochs(self) -> int:
        """Number of epochs before the finish."""
        return self.epochs - (self.finish.epochs if self.finish else 0)

    def shown_in(self, epoch: int) -> "Shown":
        """Return what an epoch, counted from 0, shows."""
        stage = self.finish if self.finish and epoch >= self.main_epochs else self
        return Shown(stage.augmentation, stage.outlier_share, stage.drawn_share)

    def refitting(self) -> "Recipe":
        """Return the refit as a recipe of its own, which starts from this recipe's weights."""
        if not self.refit:
            raise ValueError(f"{self.name} has no refit.")
        return replace(
            self,
            epochs=self.refit.epochs,
            learning_rate=self.refit.learning_rate,
            augmentation=self.refit.augmentation,
            outlier_share=self.refit.outlier_share,
            copies=self.refit.copies,
            drawn_share=self.refit.drawn_share,
            seeds=(),
            start=None,
            finish=None,
            refit=None,
        )

    def describe(self) -> dict[str, Any]:
        """Return the settings as values for JSON, without those that have their default.

        A setting that is added later therefore changes no description of an older recipe.
        """
        values = {**asdict(self), "build": self.build.__name__}
        del values["description"]
        settings: dict[str, Any] = json.loads(json.dumps(values))  # with lists, as it is read again
        for setting in fields(self):
            if getattr(self, setting.name) == setting.default:
                del settings[setting.name]
        settings["validation_count"] = self.validation_count  # always used
        return settings


class Shown(NamedTuple):
    """What an epoch shows besides the digits as they are.

    Attributes:
        augmentation: How the digits are changed.
        outlier_share: Non-digits per digit.
        drawn_share: Digits drawn from strokes per digit.
    """

    augmentation: Augmentation
    outlier_share: float
    drawn_share: float


@dataclass(frozen=True)
class Ensemble:
    """Recipes whose networks vote with equal weights and are published as one model.

    Attributes:
        name: Name of the model and of its bundle's folder.
        description: One or two sentences about the model.
        members: The recipes, with different names. Each is trained on its own; all hold out the
            same digits.
        seeds: The seed of each member's weights, order, augmentation and dropout.
    """

    name: str
    description: str
    members: tuple[Recipe, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that every member has its own name and a seed."""
        names = {member.name for member in self.members}
        if not len(names) == len(self.members) == len(self.seeds):
            raise ValueError(f"{self.name}: each member needs a name of its own and a seed.")

    def describe(self) -> dict[str, Any]:
        """Return the settings of all members as values for JSON."""
        members = [
            {**member.describe(), "seed": seed}
            for member, seed in zip(self.members, self.seeds, strict=True)
        ]
        return {"name": self.name, "members": members}
