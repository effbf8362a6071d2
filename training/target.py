"""Where a bundle is written, and how a complete one takes the place of an older one."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Create a temporary folder on the same disk as `folder`, so that a move there is atomic."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as path:
        yield Path(path)


def put_in_place(written: Path, folder: Path) -> None:
    """Move a complete bundle into the place of an older one.

    The older one is moved away first and deleted last, so that no moment shows half of either. It
    comes back if the move fails or is interrupted.

    Args:
        written: The folder of the complete bundle, in a `workspace` of `folder`.
        folder: The bundle's folder.
    """
    older = written.with_name(f"{written.name}.older")
    if folder.exists():
        folder.rename(older)
    try:
        written.rename(folder)
    except BaseException:
        if older.exists() and not folder.exists():
            older.rename(folder)
        raise
    shutil.rmtree(older, ignore_errors=True)
