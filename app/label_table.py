"""Reads tables of labels: CSV or JSON Lines with the columns `path`, and `label` or `text`.

Knows rows of text; knows nothing of pictures or of what labels a model has.
"""

import codecs
import csv
import io
import json
import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from app.errors import InvalidInputError, TooLargeError
from app.printable import printable

if TYPE_CHECKING:
    from _csv import Reader

TABLE_SUFFIXES = (".csv", ".jsonl")
MAX_TABLE_BYTES = 1 << 26  # a million rows of 64 bytes
MAX_ROWS = 1_000_000
PATH, LABEL, TEXT = "path", "label", "text"
# Some disks and archives hold names in which an accent is a character of its own.
NORMAL_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
# What a spreadsheet takes for a formula, also as wide signs; and blanks, which are stripped here.
UNSAFE_STARTS = "=+-@ \t\r\n\uff1d\uff0b\uff0d\uff20"
DELIMITERS = ",;\t"  # spreadsheets write the semicolon where the comma is the decimal sign


@dataclass(frozen=True)
class LabelRow:
    """A row of a table.

    Attributes:
        line: Number of its last line in the file, from 1.
        path: Path of the picture, as it is written.
        label: Name of a class; empty if there is none.
        text: Text of a page; empty if there is none.
        fault: Why the row cannot be used; empty if it can.
    """

    line: int
    path: str = ""
    label: str = ""
    text: str = ""
    fault: str = ""

    @property
    def label_or_text(self) -> str:
        """Return what the row says of the picture."""
        return self.label or self.text


def is_table(path: Path) -> bool:
    """Return whether a file's name ends like a table's."""
    return path.suffix.lower() in TABLE_SUFFIXES


def read_label_table(path: Path) -> list[LabelRow]:
    """Return the rows of a table; a damaged row has a `fault`.

    The columns may have any order, and other columns are ignored; capitals in their names do not
    matter. A CSV file starts with the names of its columns, and is separated by commas, semicolons
    or tabs. A table may start with a byte order mark, that of UTF-16 too, which Windows writes.
    Bytes that are not UTF-8 are kept, because names of files may have them.

    Raises:
        InvalidInputError: The file cannot be opened, or is no table with each of these columns
            once.
        TooLargeError: The table has more than `MAX_TABLE_BYTES` or `MAX_ROWS`.
    """
    content = _decode(_read(path))
    is_csv = path.suffix.lower() == ".csv"
    rows = list[LabelRow]()
    for row in _csv_rows(path, content) if is_csv else _json_rows(content):
        if len(rows) == MAX_ROWS:
            raise TooLargeError(f"{path} has more than {MAX_ROWS:,} rows. Split it.")
        rows.append(row)
    return rows


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError(f"{path} is not a regular file, so it is not read as a table.")
        if status.st_size > MAX_TABLE_BYTES:
            raise TooLargeError(
                f"{path} has {status.st_size:,} bytes; a table may have {MAX_TABLE_BYTES:,}."
            )
        # Does not wait if the file has become a pipe in the meantime.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read(MAX_TABLE_BYTES)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from error


def _decode(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="surrogateescape")


def _csv_rows(path: Path, content: str) -> Iterator[LabelRow]:
    reader, columns = _open_csv(path, content)
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:  # such as a field of more than 128 KiB
            yield LabelRow(reader.line_num, fault=f"the row cannot be read: {error}")
            continue
        if values is None:
            return
        if any(value.strip() for value in values):
            yield _row(reader.line_num, dict(zip(columns, values, strict=False)))


def _open_csv(path: Path, content: str) -> tuple["Reader", list[str]]:
    """Return a reader of the rows below the header, and the names of the columns.

    The separator is the one with which the header names the columns: a cell in quotes may hold
    other separators, more often than the right one, and line feeds.

    Raises:
        InvalidInputError: No separator gives these columns, or a column occurs twice.
    """
    tables = [_split_header(content, delimiter) for delimiter in DELIMITERS]
    for reader, columns in tables:
        if PATH in columns and {LABEL, TEXT} & set(columns):
            twice = [name for name in (PATH, LABEL, TEXT) if columns.count(name) > 1]
            if twice:
                raise InvalidInputError(
                    f"{path} has two columns {twice[0]!r}. Delete or rename one of them."
                )
            return reader, columns
    names = ", ".join(repr(name) for name in max((each[1] for each in tables), key=len)[:10])
    raise InvalidInputError(
        f"The first line of {path} must name the columns 'path' and 'label', or 'path' and"
        f" 'text' for pages; it names {printable(names) or 'none'}."
    )


def _split_header(content: str, delimiter: str) -> tuple["Reader", list[str]]:
    """Read the first line that holds a name, but not Excel's `sep=;`; names are in lower case."""
    lines = io.StringIO(content, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    with suppress(csv.Error):  # a quote that this separator opens and that never ends
        for values in reader:
            columns = [name.strip().lower() for name in values]
            if any(columns) and not columns[0].startswith("sep="):
                return reader, columns
    return reader, []


def _json_rows(content: str) -> Iterator[LabelRow]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError):
            yield LabelRow(number, fault="the line is not JSON")
            continue
        if isinstance(cells, dict):
            yield _row(number, {key.strip().lower(): cell for key, cell in cells.items()} | cells)
        else:
            yield LabelRow(number, fault="the line is not a JSON object")


def _row(line: int, cells: Mapping[str, object]) -> LabelRow:
    path = cells.get(PATH)
    if not isinstance(path, str) or not path.strip():
        return LabelRow(line, fault="the row has no path")
    label, text = (_as_text(cells.get(name)) for name in (LABEL, TEXT))
    return LabelRow(line, path.strip(), label.strip(), text.strip())


def _as_text(value: object) -> str:
    """Return a cell as text; also numbers, which JSON may hold."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if isinstance(value, str) else repr(value) if is_number else ""


def spellings(path: str) -> list[str]:
    """Return a path of a table as it is, and as other systems and programs write it."""
    if path.isascii() and "\\" not in path:
        return [path]
    try:  # a table that is not UTF-8 is most likely of Windows
        latin = path.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    except UnicodeEncodeError:  # half of a character, which JSON can hold
        return [path]
    texts = [text.replace("\\", "/") for text in (path, latin)]
    normal = (unicodedata.normalize(form, text) for text in texts for form in NORMAL_FORMS)
    return [path, *texts, *normal]


def path_cell(path: str) -> str:
    """Return a path as a cell of a CSV file that no spreadsheet takes for a formula.

    A `./` before a relative path leaves it the same, so every program that opens the path finds the
    file. The signs are those of OWASP's page on CSV injection.
    """
    return f"./{path}" if path and path[0] in UNSAFE_STARTS else path


def path_of_cell(cell: str) -> str:
    """Return the path of which `path_cell` made a cell."""
    path = cell.removeprefix("./")
    return path if path_cell(path) == cell else cell
