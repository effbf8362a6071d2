"""Where a bundle is written."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """The place and the version of a new bundle.

    Attributes:
        folder: The bundle's folder.
        after_version: The new version number is at least one more than this.
        published: Whether the bundle replaces a served model. Only then the test split is opened.
    """

    folder: Path
    after_version: int = 0
    published: bool = False
