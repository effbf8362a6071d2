"""Writes files that readers see as a whole: with the old content, or with all of the new one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import InvalidInputError


def check_place(path: Path) -> None:
    """Check that there is a folder for a file, before the work whose result it holds.

    Raises:
        InvalidInputError: There is none, or the path is that of a folder or cannot be used.
    """
    try:
        if not path.parent.is_dir():
            raise InvalidInputError(f"There is no folder {path.parent} for {path.name}.")
        if path.is_dir():
            raise InvalidInputError(f"{path} is a folder.")
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}.") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write; at the end of the block it replaces the file at `path`.

    If the block fails, such as on a full disk, `path` stays as it was and nothing else is left.
    """
    partial = path.with_name(path.name + ".tmp")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
