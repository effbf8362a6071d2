"""Reads the files of a bundle's folder: only regular files inside it, and within a size.

Knows paths, sizes and hashes; knows nothing of what a bundle contains.
"""

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import BundleError


def read_file(folder: Path, name: str, max_bytes: int) -> bytes:
    """Return the content of a file.

    Args:
        folder: The bundle's folder.
        name: Path of the file in it.
        max_bytes: Bytes that the file may have.

    Raises:
        BundleError: The file is missing, unreadable, no regular file, outside the folder or larger.
    """
    with _opened(folder, name, max_bytes) as file:
        return file.read(max_bytes)


def file_size(folder: Path, name: str, max_bytes: int) -> int:
    """Return the bytes of a file that `read_file` would read; raise as it does."""
    with _opened(folder, name, max_bytes) as file:
        return os.fstat(file.fileno()).st_size


def check_hash(folder: Path, name: str, expected: str, max_bytes: int) -> None:
    """Compare a file with its SHA-256, without keeping its content.

    Args:
        folder: The bundle's folder.
        name: Path of the file in it.
        expected: The SHA-256.
        max_bytes: Bytes that the file may have.

    Raises:
        BundleError: As `read_file`; or the file differs.
    """
    with _opened(folder, name, max_bytes) as file:
        actual, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    compare_hash(folder / name, actual, expected, size)


def compare_hash(path: Path, actual: str, expected: str, size: int) -> None:
    """Raise a `BundleError` if the SHA-256 of a file of `size` bytes is not the expected one."""
    if actual != expected:
        raise BundleError(
            f"{path} is not the file that was published: expected SHA-256 {expected}, got {actual}"
            f" ({size} bytes). Restore it, or train the model again."
        )


@contextmanager
def _opened(folder: Path, name: str, max_bytes: int) -> Iterator[io.BufferedReader]:
    path = folder / name
    try:
        real = _inside(folder, name)
        status = os.stat(real)
        if not stat.S_ISREG(status.st_mode):  # to open a named pipe would wait for a writer
            raise BundleError(f"{path} is no regular file. Restore the model bundle.")
        if status.st_size > max_bytes:
            raise BundleError(
                f"{path} has {status.st_size} bytes; at most {max_bytes} are plausible for this"
                " model."
            )
        with open(real, "rb") as file:
            yield file
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read: {error.strerror}. Restore the model bundle."
        ) from error


def _inside(folder: Path, name: str) -> str:
    """Return the real path of a file; refuse one outside the folder, also behind links."""
    outside = f"{folder} lists {name!r}, which is outside the bundle"
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise BundleError(f"{outside}.")
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        raise BundleError(f"{folder} lists {name!r}, which is no name of a file.") from error
    root, real = os.path.realpath(folder), os.path.realpath(folder / name)
    if not real.startswith(root + os.sep):
        raise BundleError(f"{outside}: a symbolic link leads there.")
    return real
