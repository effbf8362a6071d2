"""Tests of `digitscope read`, which reads folders of images into tables."""

import csv
import json
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from app.batch_files import Row, find_images, read_file, read_rows, write_results
from app.errors import InvalidInputError
from app.inference.model import Model
from app.recognise import Options
from app.samples import sample_png
from digitscope import command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ten digits, a file that only looks like an image, and a text file."""
    (tmp_path / "scans" / "deep").mkdir(parents=True)
    for digit in range(10):
        place = tmp_path / "scans" / ("deep" if digit > 6 else "")
        (place / f"{digit}.png").write_bytes(sample_png(digit))
    (tmp_path / "scans" / "broken.png").write_bytes(b"nothing")
    (tmp_path / "scans" / "notes.txt").write_text("no image")
    return tmp_path / "scans"


def _rows(path: Path) -> list[dict]:
    if path.suffix == ".csv":
        return list(csv.DictReader(path.read_text().splitlines()))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


@pytest.mark.slow
def test_read_command_reads_a_folder(folder: Path, tmp_path: Path) -> None:
    """Every image gets a row; a damaged one gets an error and makes the exit code 1."""
    out = tmp_path / "results.jsonl"
    result = CliRunner().invoke(command, ["read", str(folder), "--out", str(out)])
    assert result.exit_code == 1, result.output
    rows = {Path(row["file"]).name: row for row in _rows(out)}
    assert len(rows) == 11
    assert [rows[f"{digit}.png"]["text"] for digit in range(10)] == list("0123456789")
    assert "image" in rows["broken.png"]["error"]


def test_pipe_gets_a_row_with_its_error(tmp_path: Path, classic: Model) -> None:
    """A named pipe in a folder of images is not opened, because it may never begin."""
    os.mkfifo(tmp_path / "pipe.png")
    (pipe,) = find_images([tmp_path])
    row = read_file(pipe, classic, Options())
    assert row == Row(str(pipe), error="Only regular files can be read; this is a pipe.")


def test_files_that_are_read_together_get_their_own_rows(
    folder: Path, tmp_path: Path, classic: Model
) -> None:
    """Small and large, blank, missing and damaged files: each has the row that it gets alone."""
    digit = np.asarray(Image.open(BytesIO(sample_png(7))))
    Image.fromarray(np.tile(255 - digit, (3, 4))).save(folder / "page.png")
    Image.fromarray(np.zeros_like(digit)).save(folder / "blank.png")
    Image.fromarray(np.hstack([digit, digit])).save(folder / "two.png")
    paths = [*find_images([folder]), tmp_path / "missing.png"]
    rows = read_rows(paths, [classic], Options())
    assert rows == [read_file(path, classic, Options()) for path in paths]
    assert sum(bool(row.error) for row in rows) == 3
    assert {Path(row.file).name: row.text for row in rows}["two.png"] == "77"


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_interrupted_run_is_resumed(
    folder: Path, tmp_path: Path, classic: Model, ending: str
) -> None:
    """A second run reads only the missing files and completes the table."""
    out, paths, read = tmp_path / f"results.{ending}", find_images([folder]), []

    def read_some(remaining: list[Path], stop_after: int) -> Iterator[Row]:
        for path in remaining:
            if len(read) == stop_after:
                raise KeyboardInterrupt
            read.append(path)
            yield read_file(path, classic, Options())

    with pytest.raises(KeyboardInterrupt):
        write_results(paths, out, lambda rest: read_some(rest, 4))
    seen: list[Row] = []
    failed, resumed = write_results(paths, out, lambda rest: read_some(rest, 99), seen.append)
    assert read == paths
    assert (failed, resumed, len(seen)) == (1, 4, 11)
    rows = _rows(out)
    assert [row["file"] for row in rows] == [str(path) for path in paths]
    assert sorted(row["text"] for row in rows if not row["error"]) == list("0123456789")


def test_rows_of_other_files_are_kept_but_not_counted(tmp_path: Path) -> None:
    """A failed file of an earlier run keeps its row and does not count as a failure of this run."""
    out = tmp_path / "results.csv"
    write_results([Path("a")], out, lambda remaining: iter([Row("a", error="no image")]))
    seen: list[Row] = []
    written = write_results([Path("b")], out, lambda remaining: iter([Row("b", "7")]), seen.append)
    assert written == (0, 0)
    assert [row.file for row in seen] == ["b"]
    assert [row["file"] for row in _rows(out)] == ["a", "b"]


def test_incomplete_last_row_is_read_again(folder: Path, tmp_path: Path, classic: Model) -> None:
    """A row that a crash cut off is replaced by a complete one."""
    out, paths = tmp_path / "results.jsonl", find_images([folder])

    def read(remaining: list[Path]) -> Iterator[Row]:
        return (read_file(path, classic, Options()) for path in remaining)

    write_results(paths, out, read)
    whole = out.read_text()
    out.write_text(whole[:-30])
    write_results(paths, out, read)
    assert out.read_text() == whole


def test_warnings_of_a_page_are_in_its_row(tmp_path: Path, classic: Model) -> None:
    """A page with more digits than are read is not silently incomplete in the table."""
    digit = np.asarray(Image.open(BytesIO(sample_png(7))))
    Image.fromarray(np.tile(255 - digit, (21, 21))).save(tmp_path / "page.png")
    row = read_file(tmp_path / "page.png", classic, Options())
    assert row.error == ""
    assert "Only the 400 marks" in row.warnings


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_table_of_an_older_version_is_resumed(tmp_path: Path, suffix: str) -> None:
    """A table without the column of warnings gets it; its rows are kept."""
    out = tmp_path / f"results{suffix}"
    older = {"file": "a", "text": "7", "confidence": 0.9, "digits": "[]", "error": ""}
    if suffix == ".csv":
        out.write_text(f"{','.join(older)}\r\n{','.join(map(str, older.values()))}\r\n")
    else:
        out.write_text(json.dumps(older) + "\n")
    paths = [Path("a"), Path("b")]
    rows = iter([Row("b", "8", warnings="Only a part was read.")])
    assert write_results(paths, out, lambda rest: rows).resumed == 1
    assert [row["warnings"] for row in _rows(out)] == ["", "Only a part was read."]


def test_unsupported_suffix_is_refused(tmp_path: Path) -> None:
    """The error for an unsupported table format names the supported ones."""
    with pytest.raises(InvalidInputError, match=r"\.csv, \.jsonl or \.parquet"):
        write_results([], tmp_path / "results.xlsx", lambda remaining: iter([]))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    "content",
    [b"name,amount\nalice,3\n", b"name\n", b"garbage", b'{"file": 3, "x": 1}\n', b"\xff\n"],
)
def test_file_that_is_no_table_stays_as_it_is(tmp_path: Path, suffix: str, content: bytes) -> None:
    """A file of somebody else is not overwritten."""
    out = tmp_path / f"results{suffix}"
    out.write_bytes(content)
    with pytest.raises(InvalidInputError, match="Choose another name"):
        write_results([Path("a")], out, lambda rest: iter([Row("a", "7")]))
    assert out.read_bytes() == content


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_name_that_is_no_text_is_written(tmp_path: Path, suffix: str) -> None:
    """The name of a file is any bytes; a table holds it, and a second run finds it there."""
    name = os.fsdecode(b"caf\xe9.png")
    out = tmp_path / f"results{suffix}"

    def read(paths: list[Path]) -> Iterator[Row]:
        yield from (Row(str(path), "7") for path in paths)

    assert write_results([Path(name)], out, read).resumed == 0
    if suffix == ".csv":
        assert b"caf\xe9.png" in out.read_bytes()
    elif suffix == ".parquet":
        assert _rows(out)[0]["file"] == r"caf\udce9.png"
        return
    assert write_results([Path(name)], out, read).resumed == 1
