"""Read image files and write a table with one row per file.

A file that cannot be read gets a row with its error. An interrupted run can be resumed. Knows files
and models; knows nothing of processes (`app.file_workers`) or the command line (`app.cli`).
"""

import csv
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

from app.errors import DigitscopeError, InvalidInputError
from app.image_files import read_image_file
from app.imaging.formats import SUFFIXES
from app.inference.model import Model
from app.page_reading import Page, read_pages
from app.recognise import Options

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("file", "text", "confidence", "digits", "error", "warnings")
# How a table starts; one of an older version has fewer columns.
CSV_START, JSONL_START = b"file,text,confidence,digits,error", b'{"file": '
FLUSH_S = 0.1  # seconds after which rows are written to the file; a run that is killed loses them


class Row(NamedTuple):
    """The result for one file, a row of the table.

    Attributes:
        file: Path of the file as it was given.
        text: Digits of the image, one text line per line; empty if the file could not be read.
        confidence: Smallest probability among the digits; None if there are no digits.
        digits: JSON array with the digit, label, box, confidence and verdict of each digit.
        error: Why the file could not be read; empty if it was.
        warnings: What may make the text wrong, in sentences; empty if nothing.
    """

    file: str
    text: str = ""
    confidence: float | None = None
    digits: str = "[]"
    error: str = ""
    warnings: str = ""


def find_images(paths: list[Path]) -> list[Path]:
    """Replace each folder by the images in it and in its subfolders, sorted; keep files."""
    images: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        images += inside if path.is_dir() else [path]
    return images


class Written(NamedTuple):
    """Counts of a run.

    Attributes:
        failed: Number of files that could not be read, earlier runs included.
        resumed: Number of files that were in the table already.
    """

    failed: int
    resumed: int


def read_file(path: Path, model: Model, options: Options) -> Row:
    """Read one file; a failure becomes the row's error."""
    return read_rows([path], [model], options)[0]


def read_rows(paths: Sequence[Path], models: Sequence[Model], options: Options) -> list[Row]:
    """Read a few files with the one model; a failure becomes the error of its row."""
    (model,) = models
    contents = [_content_or_error(path, options) for path in paths]
    pages = iter(read_pages([each for each in contents if isinstance(each, bytes)], model, options))
    return [
        _row(path, next(pages) if isinstance(each, bytes) else each)
        for path, each in zip(paths, contents, strict=True)
    ]


def _content_or_error(path: Path, options: Options) -> bytes | DigitscopeError:
    try:
        return read_image_file(path, max_pixels=options.max_pixels)
    except DigitscopeError as error:
        return error


def _row(path: Path, page: Page | DigitscopeError) -> Row:
    if isinstance(page, DigitscopeError):
        return Row(str(path), error=page.detail)
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
    lowest = min((read.confidence for read in reads), default=None)
    warnings = " ".join(page.upload.warnings + page.warnings)
    return Row(str(path), page.text, lowest, json.dumps(digits), warnings=warnings)


def table_schema() -> "pa.Schema":
    """Return the Arrow schema of the table; needs pyarrow."""
    import pyarrow as pa

    return pa.schema(
        [(name, pa.float64() if name == "confidence" else pa.string()) for name in COLUMNS]
    )


def _open_text(path: Path, mode: Literal["r", "w", "a"]) -> IO[str]:
    """Open a table; names of files that are no UTF-8 are written as they are."""
    return path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")


def _write_csv(rows: Iterator[Row], stream: IO[str], *, header: bool) -> None:
    writer = csv.writer(stream)
    if header:
        writer.writerow(COLUMNS)
    for row in _flushing(rows, stream):
        writer.writerow(row)


def _write_jsonl(rows: Iterator[Row], stream: IO[str], *, header: bool) -> None:
    for row in _flushing(rows, stream):
        stream.write(json.dumps(row._asdict()) + "\n")


def _flushing(rows: Iterator[Row], stream: IO[str]) -> Iterator[Row]:
    """Yield rows to be written; write what is buffered to the file every `FLUSH_S`."""
    flushed = time.monotonic()
    for row in rows:
        yield row
        if time.monotonic() - flushed >= FLUSH_S:
            stream.flush()
            flushed = time.monotonic()


def _complete_rows_csv(path: Path) -> list[dict[str, Any]]:
    with _open_text(path, "r") as stream:
        rows = [row for row in csv.DictReader(stream) if None not in row.values()]
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2))
        ends_in_row = file.read() == b"\r\n"  # lines within a text end in LF alone
    return rows if ends_in_row else rows[:-1]


def _complete_rows_jsonl(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def write_results(
    paths: list[Path],
    out: Path,
    read: Callable[[list[Path]], Iterator[Row]],
    on_row: Callable[[Row], None] = lambda row: None,
) -> Written:
    """Read files and write their rows to a table; resume a table that exists.

    Args:
        paths: The files.
        out: The table: `.csv`, `.jsonl` or `.parquet`. Files that have a row in it already are not
            read again.
        read: Reads a list of files and yields a row for each.
        on_row: Called with each file's row, rows of earlier runs included.

    Returns:
        The number of failures, and of files that were in the table already.

    Raises:
        InvalidInputError: The suffix is another one, or it is `.parquet` and pyarrow is missing, or
            the file exists and is no table of an earlier run.
    """
    if out.suffix not in (".csv", ".jsonl", ".parquet"):
        raise InvalidInputError(
            f"The suffix of {out} must be .csv, .jsonl or .parquet; it is {out.suffix!r}."
        )
    if out.suffix == ".parquet":
        return _write_parquet(paths, out, read, on_row)
    done = _repair(out) if out.exists() else []
    files_done, requested = {str(row.file) for row in done}, {str(path) for path in paths}
    resumed = [row for row in done if str(row.file) in requested]
    failed = sum(bool(row.error) for row in resumed)
    for row in resumed:
        on_row(row)

    def read_remaining() -> Iterator[Row]:
        nonlocal failed
        for row in read([path for path in paths if str(path) not in files_done]):
            failed += bool(row.error)
            on_row(row)
            yield row

    write = _write_csv if out.suffix == ".csv" else _write_jsonl
    with _open_text(out, "a") as stream:
        write(read_remaining(), stream, header=not done)
    return Written(failed, len(resumed))


def _repair(out: Path) -> list[Row]:
    """Return the complete rows of an earlier run; drop an incomplete last row from it.

    Raises:
        InvalidInputError: The file is no table of an earlier run; it stays as it is.
    """
    is_csv = out.suffix == ".csv"
    start = CSV_START if is_csv else JSONL_START
    with out.open("rb") as file:
        is_ours = start.startswith(file.read(len(start)))
    not_ours = InvalidInputError(
        f"{out} exists, and digitscope read did not write it. Choose another name for a table."
    )
    if not is_ours:
        raise not_ours
    try:
        complete = _complete_rows_csv(out) if is_csv else _complete_rows_jsonl(out)
        rows = [Row(**row) for row in complete]
    except (TypeError, ValueError, csv.Error) as error:
        raise not_ours from error
    write = _write_csv if is_csv else _write_jsonl
    partial = out.with_name(out.name + ".tmp")
    with _open_text(partial, "w") as stream:
        write(iter(rows), stream, header=bool(rows))
    partial.replace(out)
    return rows


def _write_parquet(
    paths: list[Path],
    out: Path,
    read: Callable[[list[Path]], Iterator[Row]],
    on_row: Callable[[Row], None],
) -> Written:
    """Write the rows as JSON lines, which can be resumed, then convert them to Parquet."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InvalidInputError(
            "Writing .parquet needs pyarrow. Install the extra 'parquet', or choose .csv or .jsonl."
        ) from error
    partial = out.with_name(out.name + ".jsonl")
    written = write_results(paths, partial, read, on_row)
    rows = _complete_rows_jsonl(partial)
    for row in rows:  # Arrow's texts are UTF-8, names of files are any bytes
        row["file"] = row["file"].encode("utf-8", "backslashreplace").decode()
    pq.write_table(pa.Table.from_pylist(rows, schema=table_schema()), out)
    partial.unlink()
    return written
