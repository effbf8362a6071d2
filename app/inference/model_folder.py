"""The folder of model bundles: which bundles it holds, and whether their files have changed.

Knows files and their times; knows nothing of what a bundle contains.
"""

import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from app.bundle import KERAS_FILE, METADATA
from app.errors import BundleError
from app.printable import printable

log = logging.getLogger(__name__)
# Of each file of a bundle: its path, size, inode, and the times of its content and of its status.
FileStamp = tuple[tuple[str, int, int, int, int], ...]
NO_FILES: FileStamp = ()
UNREAD: FileStamp = (("", 0, 0, 0, 0),)  # differs from the files of every bundle
TOO_MANY_FILES: FileStamp = (("", 1, 0, 0, 0),)  # of every bundle beyond the limits below
MAX_FILES = 2000  # files and folders in a bundle; the largest published one has 23
MAX_DEPTH = 8  # folders inside each other in a bundle; the published ones have 1
_CORE_FILES = (METADATA, KERAS_FILE)  # a folder with one of these is a bundle, or a part of one
_TEACHERS = "teachers"  # networks that training keeps here; they are not served
_NETWORK_SUFFIXES = (".keras", ".h5", ".hdf5", ".tflite", ".onnx")
MAX_IGNORED = 100  # files and folders that are no bundles; others are not named
MAX_NAME_LENGTH = 100  # characters; a name is part of a URL, of a metric and of many messages
_RENAME = (
    f"the name of a model has at most {MAX_NAME_LENGTH} characters, which are printable UTF-8;"
    " rename the folder"
)


class ModelFolder:
    """A folder with one bundle in each subfolder.

    Attributes:
        ignored: By name, what was found at the last look and is no bundle, with what to do.
    """

    def __init__(self, path: Path) -> None:
        """Take the path of the folder."""
        self.path = path
        self._seen: Mapping[str, FileStamp] = {}  # the files at the last call of `changes`
        self._logged: frozenset[str] = frozenset()  # names of what is no bundle, already logged
        self.ignored: Mapping[str, str] = {}

    def names(self) -> list[str]:
        """Return the names of the bundles, sorted.

        A subfolder whose name begins with a dot is left out: it holds files that are being written.
        So is one whose name no request can carry, which is logged once.

        Raises:
            BundleError: The folder cannot be read or holds no bundle.
        """
        try:
            names = self._usable_names() if self.path.exists() else []
        except OSError as error:
            raise BundleError(
                f"{self.path} cannot be read: {error.strerror}. Set DIGITSCOPE_MODEL_DIR to a"
                " folder of bundles."
            ) from error
        if not names:
            raise BundleError(
                f"{self.path} holds no model bundle (no */{METADATA}). Set DIGITSCOPE_MODEL_DIR to"
                " a folder of bundles, or make one with 'digitscope train' or 'digitscope import'."
            )
        return names

    def stamp(self, name: str) -> FileStamp:
        """Return a value that changes when a file of a bundle is written, renamed or deleted.

        It also changes with the rights of a file, so that an unreadable file is tried again.

        Returns:
            The value; `NO_FILES` if there is no such bundle, `TOO_MANY_FILES` if it has more files
            than `MAX_FILES` or deeper folders than `MAX_DEPTH`.
        """
        return _stamp(self.path / name)

    def holds(self, known: Mapping[str, FileStamp]) -> bool:
        """Tell whether the folder holds exactly the bundles that are known, with these files."""
        try:
            return {name: self.stamp(name) for name in self._usable_names()} == known
        except OSError:
            return False

    def changes(self, known: Mapping[str, FileStamp]) -> dict[str, FileStamp]:
        """Return the bundles that differ from what is known and have been written completely.

        Files that are the same in two calls have been written completely.

        Args:
            known: The files of each bundle when it was last read, by name.

        Returns:
            The files now, by name; `NO_FILES` for a bundle that was removed.

        Raises:
            OSError: The folder is missing or cannot be read.
        """
        now = {name: self.stamp(name) for name in self._usable_names()}
        before, self._seen = self._seen, now
        changes = {}
        for name in {**known, **now}:
            stamp = now.get(name, NO_FILES)
            if stamp == before.get(name, NO_FILES) and stamp != known.get(name, NO_FILES):
                changes[name] = stamp
        return changes

    def _usable_names(self) -> list[str]:
        names, others = _look(self.path)
        usable = [name for name in names if _is_usable(name)]
        unusable = {name: _RENAME for name in names if not _is_usable(name)}
        ignored = {**unusable, **{name: _advice(self.path / name) for name in others}}
        self.ignored = {printable(name): advice for name, advice in ignored.items()}
        for name in sorted(ignored.keys() - self._logged):
            log.error("ignored %s: %s", printable(str(self.path / name)), printable(ignored[name]))
        self._logged = frozenset(ignored)
        return usable


def _is_usable(name: str) -> bool:
    """Return whether a URL, a JSON document and a metric can carry a name.

    Bytes of a file name that are not UTF-8 become surrogates, which are not printable.
    """
    return len(name) <= MAX_NAME_LENGTH and name.isprintable()


def _look(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the bundles, and those of other files and folders, both sorted."""
    with os.scandir(folder) as entries:
        found = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    names = [
        name for name in found if any(os.path.exists(folder / name / file) for file in _CORE_FILES)
    ]
    others = [name for name in found if name not in set(names) and name != _TEACHERS]
    return names, others[:MAX_IGNORED]


def _advice(path: Path) -> str:
    """Return what something is that is no bundle, and what to do with it."""
    shown = shlex.quote(str(path))
    if path.suffix.lower() in _NETWORK_SUFFIXES and not path.is_dir():
        return f"it is a network, not a bundle; import it: digitscope import {shown}"
    if (path / "saved_model.pb").exists():
        return (
            "it is a TensorFlow SavedModel, not a bundle; import it, if you trust its code:"
            f" digitscope import {shown} --trust savedmodel"
        )
    if path.is_dir():
        return f"the folder has no {METADATA}, so it is no bundle; import a network, or remove it"
    return "it is no bundle and no network; remove it"


def _stamp(bundle: Path) -> FileStamp:
    stamps, folders, entries = [], [("", 0)], 0  # each folder's path in the bundle, and its depth
    while folders:
        prefix, depth = folders.pop()
        for entry in _entries(bundle / prefix):
            entries += 1
            if entries > MAX_FILES or depth > MAX_DEPTH:
                return TOO_MANY_FILES
            with suppress(OSError):  # deleted since it was listed
                if entry.is_dir(follow_symlinks=False):
                    folders.append((f"{prefix}{entry.name}/", depth + 1))
                    continue
                stat = os.stat(entry.path)
                times = stat.st_mtime_ns, stat.st_ctime_ns
                stamps.append((prefix + entry.name, stat.st_size, stat.st_ino, *times))
    return tuple(sorted(stamps))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:  # deleted since it was listed
        yield from entries
