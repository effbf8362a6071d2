"""Stores answers in a file, so that an interrupted or repeated evaluation reads only what is new.

A line of JSON for each picture and model. It knows the version of the file, of the model and of the
program; an answer for another version, another label or other options is not used. Knows files and
records; knows nothing of how pictures are read.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from app.errors import InvalidInputError
from app.evaluation.answers import Answer
from app.labelled_images import LabelledImage
from app.model_version import ModelVersion
from app.version import VERSION

FORMAT = 1  # of the lines
START = f'{{"answers": {FORMAT}, '.encode()
FLUSH_S = 0.1  # seconds after which lines are written to the file; a run that is killed loses them
KEY_BYTES = 16  # of the hash of all that an answer depends on; paths would take more memory


class AnswerFile:
    """A file of answers; a context manager, which closes it."""

    def __init__(self, path: Path) -> None:
        """Open a file and read the answers in it; drop an incomplete last line.

        Raises:
            InvalidInputError: The file exists and holds no answers, and stays as it is; or it
                cannot be read or written.
        """
        self._path = path
        with self._writing():
            self._known, self.damaged_lines = _read(path)
            self._stream: IO[str] = path.open("a", encoding="ascii")
        self._flushed = time.monotonic()

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the file."""
        with self._writing():
            self._stream.close()

    def find(self, image: LabelledImage, model: ModelVersion) -> Answer | None:
        """Return the answer of a model for a picture, or None if it is not known.

        A file that could not be read is not known, because that may have changed.
        """
        return self._known.get(_key(_identity(image, model).values()))

    def add(self, image: LabelledImage, model: ModelVersion, answer: Answer) -> None:
        """Write an answer.

        Raises:
            InvalidInputError: The file cannot be written, such as on a full disk.
        """
        if answer.error:
            return
        line = {"answers": FORMAT, **_identity(image, model), **answer.as_json()}
        with self._writing():
            self._stream.write(json.dumps(line) + "\n")
            if time.monotonic() - self._flushed >= FLUSH_S:
                self._stream.flush()
                self._flushed = time.monotonic()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say which file cannot be written."""
        try:
            yield
        except OSError as error:
            raise InvalidInputError(f"{self._path} cannot be written: {error.strerror}.") from error


def _identity(image: LabelledImage, model: ModelVersion) -> dict[str, object]:
    """Return everything on which an answer depends."""
    return {
        "file": os.path.abspath(image.path),
        "size": image.size,
        "modified_ns": image.modified_ns,
        "label": image.label,
        "text": image.text,
        "model": model.name,
        "version": model.version,
        "digest": model.digest,
        "options": model.options,
        "program": VERSION,
    }


IDENTITY = tuple(
    _identity(LabelledImage(Path(), "", "", "", 0, 0, ""), ModelVersion("", 0, "", ""))
)


def _key(identity: Iterable[object]) -> bytes:
    return hashlib.blake2b(json.dumps(list(identity)).encode(), digest_size=KEY_BYTES).digest()


def _read(path: Path) -> tuple[dict[bytes, Answer], int]:
    """Return the answers of a file and its number of damaged lines; drop an incomplete last line.

    Damaged lines stay in the file, and the pictures are read again. A file with nothing else is
    not ours.
    """
    if not path.exists():
        return {}, 0
    not_ours = InvalidInputError(
        f"{path} exists, and digitscope evaluate did not write it. Choose another name for the"
        " answers."
    )
    if not path.is_file():
        raise not_ours
    known, complete, damaged = dict[bytes, Answer](), 0, 0
    with path.open("rb") as file:
        if not START.startswith(file.read(len(START))):
            raise not_ours
        file.seek(0)
        for line in file:
            if not line.endswith(b"\n"):
                break
            complete += len(line)
            try:
                fields = json.loads(line)
                del fields["answers"]
                key = _key([fields.pop(name) for name in IDENTITY])
                known[key] = Answer.from_json(fields)
            except (ValueError, KeyError, TypeError, RecursionError):
                damaged += bool(line.strip())
    if damaged and not known:
        raise not_ours
    if complete < path.stat().st_size:
        os.truncate(path, complete)
    return known, damaged
