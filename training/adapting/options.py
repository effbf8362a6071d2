"""What the user chose, and whether the new model's name is free and its folder can be written."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app import bundle
from app.bundle import Bundle
from app.recognise import Options
from training.errors import AdaptError
from training.target import workspace

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class AdaptOptions:
    """What the user chose.

    Attributes:
        pictures: Folder or table of labelled pictures.
        models: Folder of bundles.
        name: Name of the new model.
        deep: Whether the layers from the last convolution on learn, too.
        replace: Whether an adapted bundle of this name is replaced.
        cache: Folder of the cache.
        reading: How the service reads pictures.
    """

    pictures: Path
    models: Path
    name: str
    deep: bool
    replace: bool
    cache: Path
    reading: Options

    @property
    def folder(self) -> Path:
        """Return the folder of the new bundle."""
        return self.models / self.name


def check_room(options: AdaptOptions, base: Bundle) -> None:
    """Check that a bundle as large as the base can be written; what is written is deleted again.

    Raises:
        AdaptError: It cannot be written.
    """
    size = sum(path.stat().st_size for path in base.folder.iterdir() if path.is_file())
    with names_the_folder(options.models), workspace(options.folder) as place:
        (place / "room").write_bytes(bytes(size))


@contextmanager
def names_the_folder(models: Path) -> Iterator[None]:
    """Turn an error of the disk into an `AdaptError` that names the folder of bundles."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise AdaptError(
            f"{models} cannot be written: {reason}. Name another folder with --out."
        ) from error


def next_version(options: AdaptOptions, base: Bundle) -> int:
    """Return the version of the new bundle.

    Raises:
        AdaptError: The name is none of a model, or it is taken.
        BundleError: The bundle to replace cannot be read.
    """
    folder = options.folder
    if not NAME.fullmatch(options.name):
        raise AdaptError(
            f"{options.name!r} cannot be the name of a model. Use at most 64 lower-case letters,"
            " digits and hyphens, the first no hyphen."
        )
    if not folder.exists():
        return 1
    if not (folder / bundle.METADATA).exists():
        raise AdaptError(f"{folder} exists and is no bundle; choose another --name.")
    old = bundle.open_bundle(folder).metadata
    if old.adapted is None or folder.resolve() == base.folder.resolve():
        raise AdaptError(
            f"The model {old.name!r} is not replaced, so that you can go back to it; choose another"
            " --name."
        )
    if not options.replace:
        raise AdaptError(
            f"There is a model {old.name!r} already. Replace it with --replace, or choose another"
            " --name."
        )
    return old.version + 1
