"""Write rows of read files to a table: CSV, JSON Lines or Parquet; resume a table that exists.

A row of a file that has changed since, or that was read in another way, is replaced. Knows rows and
files; knows nothing of how a file is read.
"""

import csv
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from app.batch_files import Row, row_schema
from app.errors import InvalidInputError
from app.label_table import path_cell, path_of_cell
from app.model_version import file_version
from app.whole_file import replacing

COLUMNS = Row._fields
LISTS = ("doubtful", "fields")  # lists in JSON Lines and Parquet, JSON in CSV
FIELD_COLUMN = re.compile(r"field_[1-9][0-9]{0,3}")  # the text of a field of a form, in CSV
# How a table starts; one of an older version has fewer columns.
CSV_START, JSONL_START = b"file,text,confidence,digits,error", b'{"file": '
FLUSH_S = 0.1  # seconds after which rows are written to the file; a run that is killed loses them
Read = Callable[[list[Path]], Iterator[Row]]


class Written(NamedTuple):
    """Counts of a run.

    Attributes:
        failed: Number of files that could not be read.
        resumed: Number of files that were in the table already and were not read again.
        replaced: Number of files that were in the table already and were read again.
    """

    failed: int
    resumed: int
    replaced: int


class _Table(NamedTuple):
    """What a table holds.

    Attributes:
        rows: Its complete rows.
        field_columns: Number of columns with the text of a field.
    """

    rows: list[Row]
    field_columns: int = 0


def write_results(
    paths: list[Path],
    out: Path,
    read: Read,
    reader: str,
    on_row: Callable[[Row], None] = lambda row: None,
) -> Written:
    """Read files and write their rows to a table; resume a table that exists.

    A file is read again if its row has an error, another reader, or another size or time of the
    file's last change; so are files of a table of an older version, whose rows have none of these.
    A CSV table has a column for each field of a form. Columns are added at the end of a run, when
    the largest number of fields is known; until then the texts are in the column `fields` alone.

    Args:
        paths: The files.
        out: The table: `.csv`, `.jsonl` or `.parquet`.
        read: Reads a list of files and yields a row for each.
        reader: Names the model and the options, as in the rows that `read` yields.
        on_row: Called with each file's row, rows of earlier runs included.

    Raises:
        InvalidInputError: The suffix is another one, or it is `.parquet` and pyarrow is missing, or
            the file exists and is no table of an earlier run.
    """
    if out.suffix not in (".csv", ".jsonl", ".parquet"):
        raise InvalidInputError(
            f"The suffix of {out} must be .csv, .jsonl or .parquet; it is {out.suffix!r}."
        )
    if out.suffix == ".parquet":
        return _write_parquet(paths, out, read, reader, on_row)
    table = read_table(out) if out.exists() else _Table([])
    requested = {str(path) for path in paths}
    kept, resumed, replaced = list[Row](), set[str](), set[str]()
    for row in table.rows:
        if row.file in requested and not _is_current(row, reader):
            replaced.add(row.file)
            continue
        kept.append(row)
        if row.file in requested:
            resumed.add(row.file)
            on_row(row)
    if out.exists():
        table = _Table(kept, max(table.field_columns, _most_fields(kept)))
        _rewrite(out, table)
    failed = most_fields = 0

    def read_remaining() -> Iterator[Row]:
        nonlocal failed, most_fields
        for row in read([path for path in paths if str(path) not in resumed]):
            failed += bool(row.error)
            most_fields = max(most_fields, _most_fields([row]))
            on_row(row)
            yield row

    with _open_text(out, "a") as stream:
        _write(out, read_remaining(), stream, table.field_columns, header=not table.rows)
    if out.suffix == ".csv" and most_fields > table.field_columns:
        _rewrite(out, _Table(read_table(out).rows, most_fields))
    return Written(failed, len(resumed), len(replaced - resumed))


def _is_current(row: Row, reader: str) -> bool:
    """Return whether a file would be read in the same way again, and has not changed since."""
    version = file_version(Path(row.file))
    return (
        not row.error
        and row.reader == reader
        and version.size is not None
        and [str(each) for each in version] == [str(row.size), str(row.modified_ns)]
    )


def _most_fields(rows: Iterable[Row]) -> int:
    """Return the largest number of fields of a form."""
    texts = (row.fields for row in rows)
    return max((len(json.loads(text)) for text in texts if text != "[]"), default=0)


def _open_text(path: Path, mode: Literal["r", "w", "a"]) -> IO[str]:
    """Open a table; names of files that are no UTF-8 are written as they are."""
    return path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")


def _write(
    out: Path, rows: Iterable[Row], stream: IO[str], field_columns: int, *, header: bool
) -> None:
    """Write rows in the format of a table; write what is buffered to it every `FLUSH_S`."""
    writer, is_csv = csv.writer(stream), out.suffix == ".csv"
    if header and is_csv:
        names = (f"field_{number + 1}" for number in range(field_columns))
        writer.writerow((*COLUMNS, *names))
    flushed = time.monotonic()
    for row in rows:
        if is_csv:
            writer.writerow((path_cell(row.file), *row[1:], *_field_texts(row, field_columns)))
        else:
            lists = {name: json.loads(getattr(row, name)) for name in LISTS}
            stream.write(json.dumps(row._asdict() | lists) + "\n")
        if time.monotonic() - flushed >= FLUSH_S:
            stream.flush()
            flushed = time.monotonic()


def _field_texts(row: Row, count: int) -> list[str]:
    if not count:
        return []
    texts = [each["text"] for each in json.loads(row.fields)][:count]
    return texts + [""] * (count - len(texts))


def _rewrite(out: Path, table: _Table) -> None:
    """Replace a table as a whole."""
    with replacing(out) as partial, _open_text(partial, "w") as stream:
        _write(out, table.rows, stream, table.field_columns, header=bool(table.rows))


def read_table(out: Path) -> _Table:
    """Return the complete rows of a table of an earlier run, `.csv` or `.jsonl`.

    Raises:
        InvalidInputError: The file is no table of an earlier run.
    """
    is_csv = out.suffix == ".csv"
    start = CSV_START if is_csv else JSONL_START
    not_ours = InvalidInputError(
        f"{out} exists, and digitscope read did not write it. Choose another name for a table."
    )
    with out.open("rb") as file:
        if not start.startswith(file.read(len(start))):
            raise not_ours
    try:
        return _read_csv(out) if is_csv else _Table([_parse(row) for row in _json_rows(out)])
    except (TypeError, ValueError, AttributeError, csv.Error, RecursionError) as error:
        raise not_ours from error


def _read_csv(path: Path) -> _Table:
    with _open_text(path, "r") as stream:
        reader = csv.DictReader(stream)
        rows = [_parse(row) for row in reader if None not in row.values()]
        rows = [row._replace(file=path_of_cell(row.file)) for row in rows]
        field_columns = sum(bool(FIELD_COLUMN.fullmatch(each)) for each in reader.fieldnames or ())
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2))
        ends_in_row = file.read() == b"\r\n"  # lines within a text end in LF alone
    return _Table(rows if ends_in_row else rows[:-1], field_columns)


def _json_rows(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _parse(cells: dict[str, Any]) -> Row:
    """Return a row of a table.

    Raises:
        TypeError: It is no row of ours.
        ValueError: A list of it is none.
    """
    values = {name: value for name, value in cells.items() if not FIELD_COLUMN.fullmatch(name)}
    for name in LISTS:
        if name in values and not isinstance(values[name], str):
            values[name] = json.dumps(values[name])
    row = Row(**values)
    if not all(isinstance(json.loads(getattr(row, name)), list) for name in ("digits", *LISTS)):
        raise ValueError
    return row._replace(file=str(row.file))


def _write_parquet(
    paths: list[Path], out: Path, read: Read, reader: str, on_row: Callable[[Row], None]
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
    written = write_results(paths, partial, read, reader, on_row)
    places = pa.list_(pa.int32())
    field = pa.struct([("text", pa.string()), ("doubtful", places), ("box", pa.list_(pa.int32()))])
    schema = row_schema()
    for name, kind in {"doubtful": places, "fields": pa.list_(field)}.items():
        schema = schema.set(schema.get_field_index(name), pa.field(name, kind))
    rows = _json_rows(partial)
    for row in rows:  # Arrow's texts are UTF-8, names of files are any bytes
        row["file"] = row["file"].encode("utf-8", "backslashreplace").decode()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out)
    partial.unlink()
    return written
