"""What the user chose, and whether the name of the new model is free."""

import re
from dataclasses import dataclass
from pathlib import Path

from app import bundle
from app.bundle import Bundle
from app.recognise import Options
from training.errors import AdaptError

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
