"""Many image files read on all cores: a row a file, errors as rows, resumable.

Knows files and models; the command line is in `app.cli`.
"""

import csv
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, astuple, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from app.errors import DigitscopeError, InvalidInputError
from app.imaging.formats import SUFFIXES
from app.inference.model import Model
from app.inference.registry import Registry
from app.page_reading import read_page
from app.recognise import Options

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("file", "text", "confidence", "digits", "error")
_ready: list[tuple[Model, Options]] = []  # of this worker process; filled by `_start_worker`


@dataclass(frozen=True)
class Row:
    """What was read in one file.

    Attributes:
        file: Its path as given.
        text: Its digits, lines parted by line feeds; empty where it could not be read.
        confidence: The smallest probability among its digits; None without digits.
        digits: Each digit with its box, confidence and verdict, as JSON.
        error: Why it could not be read, or empty.
    """

    file: str
    text: str = ""
    confidence: float | None = None
    digits: str = "[]"
    error: str = ""


def find_images(paths: list[Path]) -> list[Path]:
    """Return the files given and, for folders, the images in them and below, sorted."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        found += inside if path.is_dir() else [path]
    return found


class Written(NamedTuple):
    """How many of the files could not be read, and how many the table held already."""

    failed: int
    known: int


def read_file(path: Path, model: Model, options: Options) -> Row:
    """Read one file; whatever is wrong with it becomes its row's error."""
    try:
        page = read_page(path.read_bytes(), model, options)
    except OSError as error:
        return Row(str(path), error=f"cannot be read: {error.strerror}")
    except DigitscopeError as error:
        return Row(str(path), error=error.detail)
    reads = [read for line in page.lines for read in line]
    digits = [
        {
            "digit": read.digit,
            "confidence": read.confidence,
            "verdict": read.verdict,
            "box": astuple(read.box),
        }
        for read in reads
    ]
    lowest = min((read.confidence for read in reads), default=None)
    return Row(str(path), page.text, lowest, json.dumps(digits))


def read_files(
    paths: list[Path], folder: Path, model: str, options: Options, *, processes: int
) -> Iterator[Row]:
    """Read files in worker processes; the rows come in the order of the files.

    Args:
        paths: The files.
        folder: The folder of model bundles.
        model: Name of the model.
        options: How the images are read.
        processes: Worker processes; each loads the model once.
    """
    with ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),  # a fork would copy the interpreters' threads
        initializer=_start_worker,
        initargs=(folder, model, options),
    ) as pool:
        yield from pool.map(_read_in_worker, paths, chunksize=8)


def _start_worker(folder: Path, model: str, options: Options) -> None:
    registry = Registry(folder, model, interpreters=1)
    registry.load()
    _ready.append((registry.wait_for(model), options))


def _read_in_worker(path: Path) -> Row:
    return read_file(path, *_ready[0])


def table_schema() -> "pa.Schema":
    """Return the columns of a table of rows; needs pyarrow."""
    import pyarrow as pa

    return pa.schema(
        [(name, pa.float64() if name == "confidence" else pa.string()) for name in COLUMNS]
    )


def _write_csv(rows: Iterator[Row], stream: IO[str], *, fresh: bool) -> None:
    writer = csv.DictWriter(stream, COLUMNS)
    if fresh:
        writer.writeheader()
    for row in rows:
        writer.writerow(asdict(row))
        stream.flush()


def _write_jsonl(rows: Iterator[Row], stream: IO[str], *, fresh: bool) -> None:
    for row in rows:
        stream.write(json.dumps(asdict(row)) + "\n")
        stream.flush()


def _done_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["error"] is not None]


def _done_jsonl(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def write_results(
    paths: list[Path],
    out: Path,
    read: Callable[[list[Path]], Iterator[Row]],
    on_row: Callable[[Row], None] = lambda row: None,
) -> Written:
    """Read files into a table, going on where an earlier run stopped.

    Args:
        paths: The files.
        out: `.csv`, `.jsonl` or `.parquet`. Files whose rows it holds already are not read again.
        read: Reads a list of files, a row each.
        on_row: Called for each file's row, those from the earlier run too.

    Raises:
        InvalidInputError: Another ending, or `.parquet` without its extra.
    """
    if out.suffix not in (".csv", ".jsonl", ".parquet"):
        raise InvalidInputError(
            f"{out.name}: results are written as .csv, .jsonl or .parquet, not {out.suffix!r}."
        )
    if out.suffix == ".parquet":
        return _write_parquet(paths, out, read, on_row)
    done = _repair(out) if out.exists() else []
    seen, asked = {str(row["file"]) for row in done}, {str(path) for path in paths}
    known = [Row(**row) for row in done if str(row["file"]) in asked]
    failed = sum(bool(row.error) for row in known)
    for row in known:
        on_row(row)

    def counted() -> Iterator[Row]:
        nonlocal failed
        for row in read([path for path in paths if str(path) not in seen]):
            failed += bool(row.error)
            on_row(row)
            yield row

    write = _write_csv if out.suffix == ".csv" else _write_jsonl
    with out.open("a", newline="") as stream:
        write(counted(), stream, fresh=not done)
    return Written(failed, len(known))


def _repair(out: Path) -> list[dict[str, Any]]:
    """Return the whole rows of an earlier run, and rewrite the file if its last one was cut off."""
    done = _done_csv(out) if out.suffix == ".csv" else _done_jsonl(out)
    write = _write_csv if out.suffix == ".csv" else _write_jsonl
    partial = out.with_name(out.name + ".tmp")
    with partial.open("w", newline="") as stream:
        write(iter([Row(**row) for row in done]), stream, fresh=bool(done))
    partial.replace(out)
    return done


def _write_parquet(
    paths: list[Path],
    out: Path,
    read: Callable[[list[Path]], Iterator[Row]],
    on_row: Callable[[Row], None],
) -> Written:
    """Collect the rows as JSON lines, which can be resumed; then write the table."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InvalidInputError(
            "Writing .parquet needs pyarrow: install the extra 'parquet', or write .csv or .jsonl."
        ) from error
    partial = out.with_name(out.name + ".jsonl")
    written = write_results(paths, partial, read, on_row)
    rows = _done_jsonl(partial)
    pq.write_table(pa.Table.from_pylist(rows, schema=table_schema()), out)
    partial.unlink()
    return written
