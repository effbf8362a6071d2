"""Writes files that readers see as a whole: with the old content, or with all of the new one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
