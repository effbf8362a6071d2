"""Keeps on disk what the frozen layers compute for pictures, so that a second run starts at once.

An entry is a file of arrays, named by everything that it depends on. The folder is bounded: the
entries that were used least recently are deleted. Knows arrays and files; knows no networks.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.archives import read_npz
from app.bundle_files import read_file
from app.errors import BundleError
from training.errors import AdaptError

MAX_BYTES = 1 << 29  # of the folder; a picture of the default model takes 2 kB
MAX_ENTRY_BYTES = 1 << 27  # what `read_npz` reads
SUFFIX = ".npz"


def default_cache() -> Path:
    """Return the folder of the cache, as the XDG base directories have it."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "digitscope" / "adapt"


class FeatureCache:
    """A folder of arrays by key."""

    def __init__(self, folder: Path, *depends_on: str) -> None:
        """Open or create the folder.

        Args:
            folder: The folder.
            depends_on: What all entries depend on, such as the model's hash.

        Raises:
            AdaptError: The folder cannot be written.
        """
        self._folder, self._base = folder, "\0".join(depends_on)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AdaptError(
                f"The folder of the cache, {folder}, cannot be made: {error.strerror}. Name another"
                " one with --cache."
            ) from error

    def get(self, key: str, **shapes: tuple[int, ...]) -> dict[str, NDArray[Any]] | None:
        """Return an entry; None if there is none, if it is damaged, or if it has other arrays.

        Args:
            key: What `put` was called with.
            shapes: Shape of each array, by name.
        """
        path = self._path(key)
        try:
            arrays = read_npz(read_file(self._folder, path.name, MAX_ENTRY_BYTES))
            os.utime(path)
        except (BundleError, OSError, ValueError):
            return None
        found = {name: array.shape for name, array in arrays.items()}
        return arrays if found == shapes else None

    def put(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store an entry, complete or not at all; a full disk only makes the next run slower."""
        content = BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        if content.tell() > MAX_ENTRY_BYTES:
            return
        with (
            suppress(OSError),
            tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", delete=False) as file,
        ):
            try:
                file.write(content.getvalue())
                file.close()
                os.replace(file.name, self._path(key))
            except BaseException:
                os.unlink(file.name)
                raise

    def shrink(self, max_bytes: int = MAX_BYTES) -> None:
        """Delete the entries that were used least recently, until the folder has its size."""
        entries = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            with suppress(OSError):
                status = path.stat()
                entries.append((status.st_mtime_ns, status.st_size, path))
        left = max_bytes
        for _, size, path in sorted(entries, reverse=True):
            left -= size
            if left < 0:
                path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(f"{self._base}\0{key}".encode()).hexdigest()
        return self._folder / f"{name}{SUFFIX}"
