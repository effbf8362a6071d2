"""Reads a user's labelled pictures: prepares each as the service does, and computes its features.

Knows files and the service's preparation; knows nothing of training.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import DigitscopeError
from app.image_files import read_image_file
from app.imaging.passthrough import SIDE
from app.inference.model import Model
from app.labelled_images import LabelledImage, RefusedFile, find_labelled_images
from app.recognise import Options, name_several, predict, read_image
from training.adapting.cache import FeatureCache
from training.adapting.tail import Features, SplitNetwork
from training.data import Images, Labels
from training.errors import AdaptError

CHUNK = 100  # pictures that are read before the bar moves
MAX_FEATURE_BYTES = 1 << 30  # of all pictures in memory
IS_PAGE = "is a page with a text; a network learns single digits"
SEVERAL = "seems to show several digits; a network learns single ones, so cut it into pictures"
CONTRADICTED = "is the same picture as others with another label"


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures as the network receives them.

    Attributes:
        images: uint8 `[N, 28, 28]`, what the service gives to the network.
        labels: uint8 `[N]`.
        features: float32 `[N, ...]`, what the tail of the network receives.
        names: Path of each file in the folder.
        groups: int64 `[N]`, the same number for copies of one picture.
        refused: Files that cannot be used, and why.
        contradicted: Files whose copies have other labels; they are left out, too.
        warnings: Sentences on labels that may be wrong.
    """

    images: Images
    labels: Labels
    features: Features
    names: tuple[str, ...]
    groups: NDArray[np.int64]
    refused: tuple[RefusedFile, ...] = ()
    contradicted: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    @property
    def different(self) -> NDArray[np.intp]:
        """Return the first of each group: copies have one answer, so they count once."""
        return np.sort(np.unique(self.groups, return_index=True)[1])

    def not_among(self, images: Images) -> NDArray[np.intp]:
        """Return which of other images, `[M, 28, 28]`, are none of the pictures."""
        learned = {image.tobytes() for image in self.images}
        return np.flatnonzero([image.tobytes() not in learned for image in images])

    @property
    def names_with_copies(self) -> list[str]:
        """Return a name for each of the `different` pictures, which tells its copies."""
        copies = np.bincount(self.groups)[self.groups[self.different]] - 1
        return [
            f"{self.names[row]} ({count} {'copy' if count == 1 else 'copies'})"
            if count
            else self.names[row]
            for row, count in zip(self.different, copies, strict=True)
        ]


@dataclass(frozen=True)
class PictureReader:
    """Prepares pictures and computes their features, or finds both in the cache.

    Attributes:
        model: The network as it is served; it chooses between the candidates of a picture.
        split: The network whose tail learns.
        options: How the service reads pictures.
        cache: What earlier runs computed.
    """

    model: Model
    split: SplitNetwork
    options: Options
    cache: FeatureCache

    def read(self, place: Path, show: Callable[[int, int], None]) -> Pictures:
        """Read a folder or a table of labelled pictures.

        Args:
            place: The folder or table.
            show: Called with the number of files that were read, and of all.

        Raises:
            InvalidInputError: There is no such folder or table.
            AdaptError: No picture can be used, or there are too many.
        """
        found = find_labelled_images(place, self.model.bundle.metadata.classes)
        self._check_count(len(found.images))
        refused = list(found.refused)
        names, labels = list[str](), list[str]()
        images, features = list[Images](), list[Features]()
        for start in range(0, len(found.images), CHUNK):
            show(start, len(found.images))
            read = self._read_some(found.images[start : start + CHUNK], refused)
            names += [image.name for image, _, _ in read]
            labels += [image.label for image, _, _ in read]
            images += [pixels for _, pixels, _ in read]
            features += [values for _, _, values in read]
        if not images:
            raise AdaptError(f"No picture in {place} can be used. {_first(refused)}")
        return self._without_contradictions(
            names, labels, np.stack(images), np.stack(features), refused, found.warnings
        )

    def _check_count(self, pictures: int) -> None:
        most = MAX_FEATURE_BYTES // (4 * prod(self.split.shape))
        if pictures > most:
            raise AdaptError(
                f"{pictures:,} pictures are too many: {most:,} fit into memory with what this"
                " network computes for each. Name a smaller folder."
            )

    def _read_some(
        self, found: Sequence[LabelledImage], refused: list[RefusedFile]
    ) -> list[tuple[LabelledImage, Images, Features]]:
        """Prepare some pictures; compute the features of those that are not in the cache."""
        prepared = list[tuple[LabelledImage, str, Images, Features | None]]()
        for image in found:
            if image.text:
                refused.append(RefusedFile(image.name, IS_PAGE))
                continue
            try:
                prepared.append((image, *self._prepare(image)))
            except DigitscopeError as error:
                refused.append(RefusedFile(image.name, f"cannot be used: {error.detail}"))
            except AdaptError as error:
                refused.append(RefusedFile(image.name, str(error)))
        new = [(key, pixels) for _, key, pixels, features in prepared if features is None]
        computed = iter(self.split.features(np.array([pixels for _, pixels in new], np.uint8)))
        read = list[tuple[LabelledImage, Images, Features]]()
        for image, key, pixels, features in prepared:
            if features is None:
                features = next(computed)
                self.cache.put(key, {"pixels": pixels, "features": features})
            read.append((image, pixels, features))
        return read

    def _prepare(self, image: LabelledImage) -> tuple[str, Images, Features | None]:
        """Return the key of a picture in the cache, its 28x28, and its features if known.

        Raises:
            DigitscopeError: It cannot be read.
            AdaptError: It seems to show several digits, as `/predict` would warn.
        """
        content = read_image_file(image.path, max_pixels=self.options.max_pixels)
        key = hashlib.sha256(content).hexdigest()
        known = self.cache.get(key, pixels=(SIDE, SIDE), features=self.split.shape)
        if known:
            return key, known["pixels"], known["features"]
        prepared = read_image(content, self.options)
        if name_several(prepared, self.model, self.options):
            raise AdaptError(SEVERAL)
        (prediction,) = predict([prepared], self.model)
        return key, prediction.prepared.pixels, None

    def _without_contradictions(
        self,
        names: Sequence[str],
        labels: Sequence[str],
        images: Images,
        features: Features,
        refused: Sequence[RefusedFile],
        warnings: Sequence[str],
    ) -> Pictures:
        """Leave out copies of one picture that have different labels."""
        classes = self.model.bundle.metadata.classes
        labels_of = defaultdict[bytes, set[str]](set)
        for pixels, label in zip(images, labels, strict=True):
            labels_of[pixels.tobytes()].add(label)
        group_of = {pixels: group for group, pixels in enumerate(labels_of)}
        torn = np.array([len(labels_of[pixels.tobytes()]) > 1 for pixels in images])
        kept = np.flatnonzero(~torn).tolist()
        if not kept:
            raise AdaptError(f"No picture can be used: each {CONTRADICTED}.")
        return Pictures(
            images[kept],
            np.array([classes.index(labels[row]) for row in kept], np.uint8),
            features[kept],
            tuple(names[row] for row in kept),
            np.array([group_of[images[row].tobytes()] for row in kept], np.int64),
            tuple(refused),
            tuple(names[row] for row in np.flatnonzero(torn).tolist()),
            tuple(warnings),
        )


def _first(refused: Sequence[RefusedFile]) -> str:
    """Return why the first file was refused, for a message."""
    if not refused:
        return "It holds none, or none has a label, such as in 3/abc.png or abc_3.png."
    return f"The first is {refused[0].name}: it {refused[0].reason.removesuffix('.')}."
