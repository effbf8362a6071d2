"""Finds labelled pictures: in a folder, or in a table of paths and labels.

`digitscope evaluate` and `digitscope adapt` read the same labels by these rules:

- A table `labels.csv` or `labels.jsonl` at the top of the folder, or a table that is named itself,
  gives all labels (`app.label_table`). Its column `text` holds the text of a page.
- Otherwise the nearest folder whose name is a class gives the label: `3/abc.png`, `3/anna/abc.png`.
- Otherwise the end of the name does, after an underscore: `abc_3.png`.

Knows files and links; opens no picture.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from app.errors import InvalidInputError, TooLargeError
from app.image_files import KINDS
from app.imaging.formats import FORMAT_NAMES, SUFFIXES
from app.label_rules import LabelRules, LabelSource
from app.label_table import TABLE_SUFFIXES, LabelRow, is_table, read_label_table, spellings
from app.printable import printable

TABLE_NAMES = tuple(f"labels{suffix}" for suffix in TABLE_SUFFIXES)
SYSTEM_FILES = {"Thumbs.db", "desktop.ini"}  # file managers write these, and hidden files
MAX_FILES = 1_000_000  # of a folder


@dataclass(frozen=True)
class LabelledImage:
    """A picture with its label, or a page with its text.

    Attributes:
        path: The file, to be opened.
        name: Its path in the folder; not always text (`app.printable`).
        label: Name of the class; empty for a page.
        text: Text of a page; empty for a picture of one digit.
        size: Bytes of the file.
        modified_ns: Time of its last change, in nanoseconds. With `size` it tells whether the file
            has changed.
        folder: The folder that it is counted in, `.` at the top: a folder that is the label is left
            out, so that `anna/3/abc.png` and `3/anna/abc.png` are in `anna`.
    """

    path: Path
    name: str
    label: str
    text: str
    size: int
    modified_ns: int
    folder: str


@dataclass(frozen=True)
class RefusedFile:
    """A file, a folder or a row of a table that cannot be used.

    Attributes:
        name: Its path in the folder, or the table and the line.
        reason: Why, in words that follow the name and a colon.
    """

    name: str
    reason: str


@dataclass
class LabelledImages:
    """What a folder or a table holds.

    Attributes:
        images: The labelled pictures, sorted by name; those of a table in its order.
        refused: What cannot be used, and why.
        warnings: Sentences on labels that may be wrong.
    """

    images: list[LabelledImage] = field(default_factory=list)
    refused: list[RefusedFile] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_labelled_images(
    place: Path, classes: Sequence[str], source: LabelSource = "auto"
) -> LabelledImages:
    """Find the labelled pictures of a folder or a table.

    Hidden files are left out. Links to folders are not followed; links to files are, if they stay
    inside the folder.

    Args:
        place: A folder, or a table whose paths are relative to its own folder.
        classes: Names of the classes that a label may have.
        source: What gives the labels of a folder: `auto`, as described above; `folder` or `suffix`,
            only this, and no table.

    Raises:
        InvalidInputError: There is no such folder or table, or it cannot be read, or there are
            two tables in the folder, or its table is outside it.
        TooLargeError: There are more than `MAX_FILES` files, or the table is too large.
    """
    try:
        is_folder = stat.S_ISDIR(os.stat(place).st_mode)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInputError(f"{place} cannot be opened: {reason}.") from error
    rules = LabelRules(classes, source)
    if not is_folder and not is_table(place):
        raise InvalidInputError(
            f"{place} is neither a folder nor a table of labels ({' or '.join(TABLE_SUFFIXES)})."
        )
    if not is_folder:
        finder = _Finder(place.parent, rules)
        finder.read_table(place)
        return finder.found
    finder = _Finder(place, rules)
    # A link that leads nowhere is an error: without its table, other labels would count.
    tables = [place / name for name in TABLE_NAMES if os.path.lexists(place / name)]
    if len(tables) > 1 and source == "auto":
        raise InvalidInputError(
            f"{place} has two tables of labels, {' and '.join(TABLE_NAMES)}. Give the right one"
            " instead of the folder, or delete the other."
        )
    if tables and source == "auto":
        finder.check_inside(tables[0])
        finder.read_table(tables[0])
        finder.refuse_unlisted(tables[0].name)
    else:
        finder.read_folder()
    return finder.found


class _Finder:
    """Collects the labelled pictures of one folder."""

    def __init__(self, root: Path, rules: LabelRules) -> None:
        self.found = LabelledImages()
        self._root, self._rules = root, rules
        self._real_root = os.path.join(os.path.realpath(root), "")
        self._real_folder = lru_cache(maxsize=4096)(os.path.realpath)
        self._listed = set[str]()

    def check_inside(self, table: Path) -> None:
        """Raise an `InvalidInputError` if a table of the folder is outside it, behind a link."""
        try:
            is_inside = self._is_inside(os.fspath(table))
        except OSError as error:
            raise InvalidInputError(
                f"{table} {_opening_fault(error)}. It would give all labels of the folder: delete"
                " it, or put the table there."
            ) from error
        if not is_inside:
            raise InvalidInputError(
                f"{table} is a link that leads out of the folder. Give the table itself instead of"
                " the folder, or put it there."
            )

    def read_folder(self) -> None:
        """Label the pictures by their folders or the ends of their names."""
        torn = list[str]()
        for name in sorted(self._walk()):
            found = self._rules.label_of(name)
            if found.label:
                self._add(name, found.folder, found.label)
            else:
                self._refuse(name, self._rules.no_label())
            if found.is_torn:
                torn.append(name)
        if torn:
            self.found.warnings.append(
                f"{len(torn):,} of {len(self.found.images):,} pictures have a folder and an end of"
                f" the name that say different labels, such as {printable(torn[0])}. The folder"
                " counts."
            )

    def read_table(self, table: Path) -> None:
        """Label the pictures that a table lists."""
        rows = dict[str, list[LabelRow]]()
        for row in read_label_table(table):
            if row.fault:
                self._refuse(f"{table.name}, line {row.line}", row.fault)
            else:
                rows.setdefault(self._relative(row.path), []).append(row)
        for name, (row, *others) in rows.items():
            self._listed.add(name)
            said = self._said(row)
            other = next((each for each in others if self._said(each) != said), None)
            fault = self._rules.cell_fault(row.label, row.text)
            if name.split(os.sep)[0] == os.pardir:
                fault = "is outside the folder of the table; only pictures inside it are read"
            elif other:
                fault = (
                    f"has two labels: {row.label_or_text[:40]!r} in line {row.line} of"
                    f" {table.name}, and {other.label_or_text[:40]!r} in line {other.line}"
                )
            if fault:
                self._refuse(row.path, fault)
            else:
                folder = os.path.dirname(name) or "."
                self._add(name, folder, self._rules.class_named(row.label), row.text)

    def _said(self, row: LabelRow) -> str:
        """Return the class that a row says, or what it says of a page."""
        return self._rules.class_named(row.label) or row.label_or_text

    def refuse_unlisted(self, table: str) -> None:
        """Refuse the pictures of the folder that its table does not list."""
        for name in sorted(self._walk()):
            if name not in self._listed:
                self._refuse(name, f"has no label: {table} does not list it")

    def _relative(self, path: str) -> str:
        """Return a path of a table as one in the folder; `..` leads out of it."""
        path = next(
            (p for p in spellings(path) if os.path.lexists(os.path.join(self._root, p))), path
        )
        if os.path.isabs(path):
            path = os.path.relpath(path, self._real_root)
        return os.path.normpath(path)

    def _walk(self) -> Iterator[str]:
        """Yield the paths of the pictures in the folder; refuse what is no picture."""
        waiting, files = [""], 0
        while waiting:
            inside = waiting.pop()
            try:
                entries = list(os.scandir(os.path.join(self._root, inside)))
            except OSError as error:
                self._refuse(inside or ".", _opening_fault(error))
                continue
            files += len(entries)
            if files > MAX_FILES:
                raise TooLargeError(
                    f"{self._root} holds more than {MAX_FILES:,} files. Give a folder inside it."
                )
            for entry in entries:
                name = os.path.join(inside, entry.name)
                if entry.name.startswith(".") or entry.name in SYSTEM_FILES:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
                elif self._is_picture(name, is_link=entry.is_symlink()):
                    yield name

    def _is_picture(self, name: str, *, is_link: bool) -> bool:
        """Return whether a file is named like a picture; refuse others, but not the table."""
        suffix = os.path.splitext(name)[1].lower()
        if is_link and os.path.isdir(os.path.join(self._root, name)):
            self._refuse(name, "is a link to a folder; such links are not followed")
        elif suffix in SUFFIXES:
            return True
        elif suffix not in TABLE_SUFFIXES:
            self._refuse(name, f"is not named like a picture: {FORMAT_NAMES}")
        elif name not in TABLE_NAMES:
            self._refuse(
                name,
                f"is not read: a table of labels is {' or '.join(TABLE_NAMES)} at the top of the"
                " folder, or is given instead of the folder",
            )
        return False

    def _add(self, name: str, folder: str, label: str, text: str = "") -> None:
        """Add a picture; refuse a file that is none or is outside the folder."""
        path = os.path.join(self._root, name)
        try:
            if not self._is_inside(path):
                self._refuse(name, "is a link that leads out of the folder; it is not followed")
                return
            status = os.stat(path)
        except (OSError, ValueError) as error:
            self._refuse(name, _opening_fault(error))
            return
        if stat.S_ISREG(status.st_mode):
            size, modified_ns = status.st_size, status.st_mtime_ns
            self.found.images.append(
                LabelledImage(Path(path), name, label, text, size, modified_ns, folder)
            )
        else:
            kind = KINDS.get(stat.S_IFMT(status.st_mode), "another kind of file")
            self._refuse(name, f"is {kind}; only regular files are read")

    def _is_inside(self, path: str) -> bool:
        """Return whether a file is inside the folder, also behind links.

        Raises:
            OSError: There is no such file, or its links lead in a circle.
        """
        real = os.path.join(self._real_folder(os.path.dirname(path)), os.path.basename(path))
        if os.path.islink(real):
            real = os.path.realpath(real, strict=True)
        return real.startswith(self._real_root)

    def _refuse(self, name: str, reason: str) -> None:
        self.found.refused.append(RefusedFile(name, reason))


def _opening_fault(error: OSError | ValueError) -> str:
    """Return why a file cannot be opened."""
    if not isinstance(error, OSError):  # such as a NUL
        return "cannot be opened: no file can have this name"
    if error.errno == errno.ELOOP:
        return "is a link that leads in a circle"
    if error.errno == errno.ENOENT:
        return "cannot be opened: there is no such file"
    return f"cannot be opened: {error.strerror}"
