"""What the answers of a model depend on, so that stored answers are known to be out of date.

Knows bundles and options; knows nothing of where answers are stored.
"""

import hashlib
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

from app.bundle import Bundle
from app.recognise import Options
from app.version import VERSION

FINGERPRINT_DIGITS = 16  # hexadecimal; 64 bits tell all models and options apart


@dataclass(frozen=True)
class ModelVersion:
    """A model and how it reads pictures, as far as its answers depend on them.

    Attributes:
        name: Name of the model.
        version: Its version.
        digest: SHA-256 of the files of its bundle.
        options: The options that a user gives, such as the polarity.
    """

    name: str
    version: int
    digest: str
    options: str

    @property
    def fingerprint(self) -> str:
        """Return hexadecimal digits that name all of this and the version of the program."""
        return hashlib.sha256(repr((*astuple(self), VERSION)).encode()).hexdigest()[
            :FINGERPRINT_DIGITS
        ]


class FileVersion(NamedTuple):
    """What tells whether a file has changed. A hash would have to read every file again.

    Attributes:
        size: Bytes of the file; None if there is no such file.
        modified_ns: Time of its last change, in nanoseconds; None if there is no such file.
    """

    size: int | None
    modified_ns: int | None


def model_version(bundle: Bundle, options: Options) -> ModelVersion:
    """Return what the answers of a model depend on; its metadata hash all of its files."""
    metadata = bundle.metadata
    digest = hashlib.sha256(metadata.model_dump_json().encode()).hexdigest()
    asked = f"{options.preprocess} {options.polarity} {options.max_pixels}"
    return ModelVersion(metadata.name, metadata.version, digest, asked)


def file_version(path: Path) -> FileVersion:
    """Return the version of a file as it is now."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a null character
        return FileVersion(None, None)
    return FileVersion(status.st_size, status.st_mtime_ns)
