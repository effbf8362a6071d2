"""Find image files, and read each into a row of a table.

A file that cannot be read gets a row with its error. Knows files and models; knows nothing of
processes (`app.file_workers`) or of how tables are written (`app.result_table`).
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from app.errors import DigitscopeError
from app.group_reading import PageDigit
from app.image_files import read_image_file
from app.imaging.formats import SUFFIXES
from app.inference.model import Model
from app.model_version import file_version, model_version
from app.page_reading import Page, line_text, lines_inside, read_pages
from app.recognise import Options

if TYPE_CHECKING:
    import pyarrow as pa


class Row(NamedTuple):
    """The result for one file, a row of the table.

    Attributes:
        file: Path of the file as it was given.
        text: Digits of the image, one text line per line; empty if the file could not be read.
        confidence: Smallest probability among the digits; None if there are no digits.
        digits: JSON array with the digit, label, box, confidence and verdict of each digit.
        error: Why the file could not be read; empty if it was.
        warnings: What may make the text wrong, in sentences; empty if nothing.
        doubtful: JSON array with the places in `text`, from 0, of what is unsure or not a digit.
        fields: JSON array with the text, the doubtful places in it and the box of each field of a
            form, in reading order.
        model: Name of the model.
        model_version: Its version.
        reader: Digits that name the model, its files, the options and the version of the program.
        size: Bytes of the file.
        modified_ns: Time of its last change before it was read, in nanoseconds.
    """

    file: str
    text: str = ""
    confidence: float | None = None
    digits: str = "[]"
    error: str = ""
    warnings: str = ""
    doubtful: str = "[]"
    fields: str = "[]"
    model: str = ""
    model_version: int | None = None
    reader: str = ""
    size: int | None = None
    modified_ns: int | None = None


@dataclass
class FoundImages:
    """The image files of some paths.

    Attributes:
        images: The files; those of a folder are sorted.
        skipped: Sentences on what was not looked into.
    """

    images: list[Path] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def find_images(paths: Iterable[Path]) -> FoundImages:
    """Replace each folder by the images in it and in its subfolders; keep files.

    Links to files are followed, links to folders inside a folder are not.
    """
    found, links, faults = FoundImages(), list[str](), list[OSError]()
    for path in paths:
        if not path.is_dir():
            found.images.append(path)
            continue
        inside = list[Path]()
        for folder, folders, files in os.walk(path, onerror=faults.append):
            linked = [each for each in folders if os.path.islink(os.path.join(folder, each))]
            links += [os.path.join(folder, each) for each in linked]
            # A folder that is named like an image gets a row with its error.
            inside += [Path(folder, each) for each in {*folders, *files}.difference(linked)]
        found.images += sorted(each for each in inside if each.suffix.lower() in SUFFIXES)
    if links:
        found.skipped.append(
            f"{_links(len(links))} not followed, such as {links[0]}. To read what is behind a link,"
            " give it as a folder of its own."
        )
    if faults:
        found.skipped.append(f"{faults[0].filename} cannot be opened: {faults[0].strerror}.")
        if len(faults) > 1:
            found.skipped[-1] += f" So it is with {len(faults) - 1:,} more folders."
    return found


def _links(count: int) -> str:
    return "1 link to a folder is" if count == 1 else f"{count:,} links to folders are"


def read_file(path: Path, model: Model, options: Options) -> Row:
    """Read one file; a failure becomes the row's error."""
    return read_rows([path], [model], options)[0]


def read_rows(paths: Sequence[Path], models: Sequence[Model], options: Options) -> list[Row]:
    """Read a few files with the one model; a failure becomes the error of its row."""
    (model,) = models
    reader = model_version(model.bundle, options)
    empty = Row("", model=reader.name, model_version=reader.version, reader=reader.fingerprint)
    rows = [_with_file(empty, path) for path in paths]  # before the files are read
    contents = [_content_or_error(path, options) for path in paths]
    pages = iter(read_pages([each for each in contents if isinstance(each, bytes)], model, options))
    return [
        _with_page(row, next(pages) if isinstance(each, bytes) else each)
        for row, each in zip(rows, contents, strict=True)
    ]


def _content_or_error(path: Path, options: Options) -> bytes | DigitscopeError:
    try:
        return read_image_file(path, max_pixels=options.max_pixels)
    except DigitscopeError as error:
        return error


def _with_file(row: Row, path: Path) -> Row:
    size, modified_ns = file_version(path)
    return row._replace(file=str(path), size=size, modified_ns=modified_ns)


def _with_page(row: Row, page: Page | DigitscopeError) -> Row:
    if isinstance(page, DigitscopeError):
        return row._replace(error=page.detail)
    reads = [read for line in page.lines for read in line]
    digits = [
        {
            "digit": read.digit,
            "label": read.label,
            "confidence": read.confidence,
            "verdict": read.verdict,
            "box": (read.box.x, read.box.y, read.box.width, read.box.height),
        }
        for read in reads
    ]
    return row._replace(
        text=page.text,
        confidence=min((read.confidence for read in reads), default=None),
        digits=json.dumps(digits),
        warnings=" ".join(page.upload.warnings + page.warnings),
        doubtful=json.dumps(doubtful_places(page.lines)),
        fields=json.dumps(_fields(page)),
    )


def _fields(page: Page) -> list[dict[str, object]]:
    return [
        {
            "text": each.text,
            "doubtful": doubtful_places(lines_inside(each.box, page.lines)),
            "box": (each.box.x, each.box.y, each.box.width, each.box.height),
        }
        for each in page.fields
    ]


def doubtful_places(lines: Iterable[tuple[PageDigit, ...]]) -> list[int]:
    """Return where in the text of lines something stands that is unsure or not a digit."""
    places, start = list[int](), 0
    for line in lines:
        for read in line:
            if read.verdict != "digit":
                places.append(start)
            start += len(line_text((read,)))
        start += 1  # the line feed
    return places


def row_schema() -> "pa.Schema":
    """Return the Arrow schema of rows; needs pyarrow."""
    import pyarrow as pa

    kinds = {"confidence": pa.float64()} | dict.fromkeys(
        ("model_version", "size", "modified_ns"), pa.int64()
    )
    return pa.schema([(name, kinds.get(name, pa.string())) for name in Row._fields])
