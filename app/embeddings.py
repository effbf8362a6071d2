"""The file `embeddings.npz` of a bundle: the features of some training digits.

Only the direction of a feature vector is stored (Sun et al., 2022, arXiv:2204.06507). A network
that was trained to be unsure of non-digits gives them short feature vectors, which are close to all
others. Measured on the classic network, AUROC of the distance to the nearest training digit:

    separates held-out digits from    directions    whole vectors
    noise                                   1.00             0.29
    misread digits                          0.94             0.81

`training` writes the file and `app` reads it. Knows arrays, but not networks.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.archives import read_npz
from app.errors import BundleError

EMBEDDINGS_FILE = "embeddings.npz"
_AXES = {"directions": 2, "labels": 1, "indices": 1, "images": 3, "held_out": 1}


@dataclass(frozen=True)
class Embeddings:
    """A subset of the training digits with their features.

    Features are the input of the layer that gives the logits.

    Attributes:
        directions: Feature vectors scaled to length 1, float32 `[M, D]`; the file has float16.
        labels: The digits that the images show, uint8 `[M]`.
        indices: Positions in the official training split, int32 `[M]`.
        images: uint8 `[M, 28, 28]`.
        held_out: Distances of held-out digits to the nearest of these, float32 `[H]`, ascending.
    """

    directions: NDArray[np.float32]
    labels: NDArray[np.uint8]
    indices: NDArray[np.int32]
    images: NDArray[np.uint8]
    held_out: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            allow_pickle=False,
            directions=self.directions.astype(np.float16),
            labels=self.labels,
            indices=self.indices,
            images=self.images,
            held_out=self.held_out,
        )
        return stream.getvalue()


def read_embeddings(content: bytes) -> Embeddings:
    """Read the content of `embeddings.npz`.

    Raises:
        BundleError: The file is damaged, or its arrays do not match each other.
    """
    try:
        arrays = read_npz(content, _AXES)
    except ValueError as error:
        raise BundleError(f"{EMBEDDINGS_FILE} cannot be read: {error}.") from error
    if any(name not in arrays or arrays[name].ndim != axes for name, axes in _AXES.items()):
        raise BundleError(
            f"{EMBEDDINGS_FILE} must contain the arrays"
            f" {', '.join(f'{name} with {axes} axes' for name, axes in _AXES.items())}."
        )
    embeddings = Embeddings(
        arrays["directions"].astype(np.float32),
        arrays["labels"].astype(np.uint8),
        arrays["indices"].astype(np.int32),
        arrays["images"].astype(np.uint8),
        arrays["held_out"].astype(np.float32),
    )
    if embeddings.images.shape[1:] != (28, 28):
        raise BundleError(f"The images of {EMBEDDINGS_FILE} must be 28x28 pixels.")
    columns = (embeddings.directions, embeddings.labels, embeddings.indices, embeddings.images)
    if len({len(column) for column in columns}) != 1 or not embeddings.held_out.size:
        raise BundleError(
            f"The arrays of {EMBEDDINGS_FILE} do not match: directions, labels, indices and images"
            " must have the same length, and held_out must not be empty."
        )
    return embeddings


def to_directions(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each row of `[N, D]` to length 1; a row of zeros stays 0."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths > 0, lengths, 1), np.float32)


def distances(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the Euclidean distances `[N, M]` between the rows of `[N, D]` and of `[M, D]`."""
    squares = (rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)
    # Rounding can make the square of a distance near 0 negative.
    return np.asarray(np.sqrt(np.maximum(squares - 2 * rows @ others.T, 0)), np.float32)
