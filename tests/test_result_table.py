"""Tests of the tables that `digitscope read` writes and resumes."""

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.batch_files import Row, find_images, read_file
from app.errors import InvalidInputError
from app.inference.model import Model
from app.model_version import file_version, model_version
from app.models import find_bundle
from app.recognise import Options
from app.result_table import COLUMNS, write_results
from app.samples import sample_png
from app.settings import Settings

READER = "the model of a test"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ten digits and a file that only looks like an image."""
    (tmp_path / "scans").mkdir()
    for digit in range(10):
        (tmp_path / "scans" / f"{digit}.png").write_bytes(sample_png(digit))
    (tmp_path / "scans" / "broken.png").write_bytes(b"nothing")
    return tmp_path / "scans"


def _rows(path: Path) -> list[dict]:
    if path.suffix == ".csv":
        with path.open(newline="") as stream:
            return list(csv.DictReader(stream))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def _row(path: Path, text: str = "7", reader: str = READER, **values: str) -> Row:
    """Return the row of a file as it is now."""
    size, modified_ns = file_version(path)
    return Row(str(path), text, reader=reader, size=size, modified_ns=modified_ns, **values)


def _fields(*texts: str) -> str:
    return json.dumps([{"text": text, "doubtful": [], "box": [1, 2, 3, 4]} for text in texts])


def _reading(asked: list[str], **fields: str) -> Callable[[list[Path]], Iterator[Row]]:
    """Return a reader that notes the names of the files that it is asked for."""

    def read(paths: list[Path]) -> Iterator[Row]:
        for path in paths:
            asked.append(path.name)
            yield _row(path, fields=fields.get(path.stem, "[]"))

    return read


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three files."""
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_interrupted_run_is_resumed(
    folder: Path, tmp_path: Path, classic: Model, ending: str
) -> None:
    """A second run reads only what is missing, or failed, and completes the table."""
    reader = model_version(classic.bundle, Options()).fingerprint
    out, paths, read = tmp_path / f"results.{ending}", find_images([folder]).images, []

    def read_some(remaining: list[Path], stop_after: int) -> Iterator[Row]:
        for path in remaining:
            if len(read) == stop_after:
                raise KeyboardInterrupt
            read.append(path)
            yield read_file(path, classic, Options())

    with pytest.raises(KeyboardInterrupt):
        write_results(paths, out, lambda rest: read_some(rest, 4), reader)
    seen: list[Row] = []
    written = write_results(paths, out, lambda rest: read_some(rest, 99), reader, seen.append)
    assert read == paths
    assert (*written, len(seen)) == (1, 4, 0, 11)
    rows = _rows(out)
    assert [row["file"] for row in rows] == [str(path) for path in paths]
    assert sorted(row["text"] for row in rows if not row["error"]) == list("0123456789")


def test_rows_of_other_files_are_kept_but_not_counted(files: list[Path], tmp_path: Path) -> None:
    """A failed file of an earlier run keeps its row and does not count as a failure of this run."""
    out = tmp_path / "results.csv"
    failing = iter([Row(str(files[0]), error="no image")])
    write_results(files[:1], out, lambda remaining: failing, READER)
    seen: list[Row] = []
    assert write_results(files[1:2], out, _reading([]), READER, seen.append) == (0, 0, 0)
    assert [row.file for row in seen] == [str(files[1])]
    assert [row["file"] for row in _rows(out)] == [str(path) for path in files[:2]]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_what_has_changed_is_read_again(files: list[Path], tmp_path: Path, suffix: str) -> None:
    """Another size, another time, and a file that could not be read; not what is as it was."""
    out, asked = tmp_path / f"results{suffix}", list[str]()
    files.append(tmp_path / "d.png")

    def first(paths: list[Path]) -> Iterator[Row]:
        yield from (_row(path) for path in paths[:3])
        yield _row(paths[3], error="There is no such file.")

    assert write_results(files, out, first, READER) == (1, 0, 0)
    os.utime(files[0], ns=(1, 1))
    size, time = files[1].stat().st_size, files[1].stat().st_mtime_ns
    files[1].write_text("longer than before")
    os.utime(files[1], ns=(time, time))
    assert size != files[1].stat().st_size
    assert write_results(files, out, _reading(asked), READER) == (0, 1, 3)
    assert asked == ["a.png", "b.png", "d.png"]
    assert sorted(row["file"] for row in _rows(out)) == sorted(map(str, files))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_another_reader_reads_all_files_again(
    files: list[Path], tmp_path: Path, suffix: str
) -> None:
    """Another model, other options, another version: no row of the table says what they say."""
    out, asked = tmp_path / f"results{suffix}", list[str]()
    write_results(files, out, lambda paths: (_row(path, reader="x") for path in paths), "x")
    assert write_results(files[:2], out, _reading(asked), READER) == (0, 0, 2)
    assert asked == ["a.png", "b.png"]
    assert [row["reader"] for row in _rows(out)] == ["x", READER, READER]


def test_reader_names_model_and_options(classic: Model) -> None:
    """The digits in a row differ for another model and for other options."""
    other = find_bundle(Settings().model_dir, "compact")
    options = Options(), Options(polarity="dark-on-light"), Options(max_pixels=9)
    readers = [
        model_version(bundle, each).fingerprint
        for bundle in (classic.bundle, other)
        for each in options
    ]
    assert len(set(readers)) == 6
    assert readers[0] == model_version(classic.bundle, Options()).fingerprint


def test_fields_become_columns_that_stay(files: list[Path], tmp_path: Path) -> None:
    """A column for each field; later runs add columns at the end, and never move or drop any."""
    out = tmp_path / "results.csv"
    write_results(files[:1], out, _reading([]), READER)
    assert tuple(_rows(out)[0]) == COLUMNS
    write_results(files[:2], out, _reading([], b=_fields("12", "", "4\n5")), READER)
    assert tuple(_rows(out)[0]) == (*COLUMNS, "field_1", "field_2", "field_3")
    write_results(files, out, _reading([], c=_fields("9")), READER)
    texts = [[row[f"field_{number}"] for number in (1, 2, 3)] for row in _rows(out)]
    assert texts == [["", "", ""], ["12", "", "4\n5"], ["9", "", ""]]
    before = out.read_bytes()
    assert write_results(files, out, _reading([]), READER).resumed == 3
    assert out.read_bytes() == before


def test_interrupted_run_keeps_all_fields(files: list[Path], tmp_path: Path) -> None:
    """Before the columns are added, the texts are in the column `fields`."""
    out, fields = tmp_path / "results.csv", _fields("12", "3")

    def interrupted(paths: list[Path]) -> Iterator[Row]:
        yield _row(paths[0], fields=fields)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_results(files, out, interrupted, READER)
    assert _rows(out)[0]["fields"] == fields
    write_results(files, out, _reading([]), READER)
    texts = [(row["field_1"], row["field_2"]) for row in _rows(out)]
    assert texts == [("12", "3"), ("", ""), ("", "")]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_fields_are_a_list(files: list[Path], tmp_path: Path, suffix: str) -> None:
    """Formats that have lists hold the fields as one."""
    out = tmp_path / f"results{suffix}"
    write_results(files[:1], out, _reading([], a=_fields("12", "3")), READER)
    (row,) = _rows(out)
    assert row["fields"] == json.loads(_fields("12", "3"))
    assert row["doubtful"] == []


def test_incomplete_last_row_is_read_again(folder: Path, tmp_path: Path, classic: Model) -> None:
    """A row that a crash cut off is replaced by a complete one."""
    out, paths = tmp_path / "results.jsonl", find_images([folder]).images

    def read(remaining: list[Path]) -> Iterator[Row]:
        return (read_file(path, classic, Options()) for path in remaining)

    reader = model_version(classic.bundle, Options()).fingerprint
    write_results(paths, out, read, reader)
    whole = out.read_text()
    out.write_text(whole[:-30])
    write_results(paths, out, read, reader)
    assert out.read_text() == whole


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_table_of_an_older_version_is_read_again(
    files: list[Path], tmp_path: Path, suffix: str
) -> None:
    """Its rows do not say which model has read which file; those of other files are kept."""
    out, asked = tmp_path / f"results{suffix}", list[str]()
    values = {"text": "7", "confidence": 0.9, "digits": "[]", "error": ""}
    older = [{"file": str(path), **values} for path in files[:2]]
    if suffix == ".csv":
        with out.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, older[0])
            writer.writeheader()
            writer.writerows(older)
    else:
        out.write_text("".join(json.dumps(row) + "\n" for row in older))
    assert write_results(files[1:], out, _reading(asked), READER) == (0, 0, 1)
    assert asked == ["b.png", "c.png"]
    assert [row["reader"] for row in _rows(out)] == ["", READER, READER]


def test_unsupported_suffix_is_refused(tmp_path: Path) -> None:
    """The error for an unsupported table format names the supported ones."""
    with pytest.raises(InvalidInputError, match=r"\.csv, \.jsonl or \.parquet"):
        write_results([], tmp_path / "results.xlsx", lambda remaining: iter([]), READER)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    "content",
    [
        b"name,amount\nalice,3\n",
        b"name\n",
        b"garbage",
        b'{"file": 3, "x": 1}\n',
        b'{"file": "a", "fields": 3}\n',
        b"file,text,confidence,digits,error,amount\r\na,7,0.9,[],,3\r\n",
        b"\xff\n",
    ],
)
def test_file_that_is_no_table_stays_as_it_is(tmp_path: Path, suffix: str, content: bytes) -> None:
    """A file of somebody else is not overwritten."""
    out = tmp_path / f"results{suffix}"
    out.write_bytes(content)
    with pytest.raises(InvalidInputError, match="Choose another name"):
        write_results([Path("a")], out, lambda rest: iter([Row("a", "7")]), READER)
    assert out.read_bytes() == content


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_name_that_is_no_text_is_written(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a file is any bytes; a table holds it, and a second run finds it there."""
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(b"caf\xe9.png"))
    path.write_text("a file")
    out = tmp_path / f"results{suffix}"
    assert write_results([path], out, _reading([]), READER).resumed == 0
    if suffix == ".csv":
        assert b"caf\xe9.png" in out.read_bytes()
    elif suffix == ".parquet":
        assert _rows(out)[0]["file"] == r"caf\udce9.png"
        return
    assert write_results([path], out, _reading([]), READER).resumed == 1


def test_no_name_of_a_file_is_a_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In CSV, `./` before a name keeps a spreadsheet from computing it; the run still continues."""
    monkeypatch.chdir(tmp_path)
    names = ["=1+1.png", "+1.png", "-1.png", "@a.png", "\uff1d1.png", "a=1.png", "./-.png"]
    paths = [Path(name) for name in names]
    for path in paths:
        path.write_bytes(sample_png(3))
    out, asked = tmp_path / "out.csv", list[str]()
    for left in (paths[:4], paths):
        write_results(left, out, _reading(asked), READER)
    assert sorted(asked) == sorted(path.name for path in paths)
    cells = [row["file"] for row in _rows(out)]
    assert cells == [*(f"./{name}" for name in names[:5]), "a=1.png", "./-.png"]
    assert all(Path(cell).exists() for cell in cells)
