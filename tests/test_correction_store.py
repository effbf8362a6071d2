"""The folder of corrections: whole after every fault, never over its bounds, no foreign paths."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app import correction_store
from app.correction_store import BLOCK_BYTES, LABELS_FILE, CorrectionStore, make_folder
from app.errors import NotFoundError, StorageError, StorageFullError
from app.label_table import read_label_table
from app.samples import sample_png
from tests.server.process import PATIENCE_S

PNG = sample_png(7)
MIB = 1 << 20


def _store(folder: Path, *, items: int = 1000, size: int = 64 * MIB) -> CorrectionStore:
    return CorrectionStore(folder, max_items=items, max_bytes=size)


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the table of labels; each line must be whole."""
    text = (folder / LABELS_FILE).read_text()
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def _pictures(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.png")}


def test_correction_is_a_picture_and_a_line(tmp_path: Path) -> None:
    """The picture has the name that the line gives, and only the service's user reads both."""
    name = _store(tmp_path).add(PNG, "7", {"answer": "1", "note": "a\nb\u2028"})
    assert (tmp_path / f"{name}.png").read_bytes() == PNG
    assert _rows(tmp_path) == [
        {"path": f"{name}.png", "label": "7", "answer": "1", "note": "a\nb\u2028"}
    ]
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


def test_deleted_correction_leaves_nothing(tmp_path: Path) -> None:
    """Its picture and its line are gone, also if one was deleted by hand; the others stay."""
    store = _store(tmp_path)
    first, second, third = (store.add(PNG, label, {}) for label in "123")
    store.remove(second)
    (tmp_path / f"{first}.png").unlink()
    store.remove(first)
    assert [row["path"] for row in _rows(tmp_path)] == [f"{third}.png"]
    assert _pictures(tmp_path) == {f"{third}.png"}
    with pytest.raises(NotFoundError):
        store.remove(second)


@pytest.mark.parametrize("name", ["", "..", "labels", "../planted", "0" * 31, "A" * 32, "0" * 32])
def test_no_name_leads_to_another_file(tmp_path: Path, name: str) -> None:
    """Only an id that the store made deletes a file."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "planted.png").write_bytes(b"")
    _store(folder).add(PNG, "7", {})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NotFoundError):
        _store(folder).remove(name)
    assert sorted(tmp_path.rglob("*")) == before


def test_bounds_hold_and_deleting_makes_room(tmp_path: Path) -> None:
    """A picture over either bound is refused and leaves nothing, until one is deleted."""
    few = _store(tmp_path, items=2)
    kept = [few.add(PNG, "7", {}), few.add(PNG, "7", {})]
    with pytest.raises(StorageFullError, match="2 pictures"):
        few.add(PNG, "7", {})
    assert len(_rows(tmp_path)) == len(_pictures(tmp_path)) == 2
    few.remove(kept[0])
    few.add(PNG, "7", {})
    (tmp_path / f"{kept[1]}.png").unlink()  # by hand
    few.add(PNG, "7", {})
    small = _store(tmp_path, size=(tmp_path / LABELS_FILE).stat().st_size + 4 * BLOCK_BYTES)
    with pytest.raises(StorageFullError):
        small.add(PNG, "7", {})


PROGRAM = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from app.correction_store import CorrectionStore, StorageFullError

def add_many(_):
    store, added = CorrectionStore(Path({{folder!r}}), max_items=50, max_bytes={MIB}), 0
    for _ in range(12):
        try:
            store.add({PNG!r}, "7", {{{{}}}})
            added += 1
        except StorageFullError:
            pass
    return added

with ThreadPoolExecutor(2) as threads:
    print(sum(threads.map(add_many, range(2))))
"""
HOLDER = """
import signal
from pathlib import Path
from app.correction_store import CorrectionStore

with CorrectionStore(Path({folder!r}), max_items=1, max_bytes=1)._locked():
    print("locked", flush=True)
    signal.pause()
"""


def _start(program: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program.format(folder=str(folder))],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_and_threads_share_a_folder(tmp_path: Path) -> None:
    """Three processes of two threads each keep the bound, and lose and tear no line."""
    workers = [_start(PROGRAM, tmp_path) for _ in range(3)]
    added = [int(worker.communicate(timeout=PATIENCE_S)[0]) for worker in workers]
    assert sum(added) == len(_rows(tmp_path)) == 50
    assert {row["path"] for row in _rows(tmp_path)} == _pictures(tmp_path)


@pytest.mark.parametrize(
    ("tail", "kept"),
    [
        (b'{"path": "half', 0),  # a crash in the middle of a line
        (b"\0\0\0\0", 0),  # a power cut
        (b'{"path": "by-hand.png", "label": "3"}', 1),  # an editor that writes no last line feed
        (b'{"path": "by-hand.png", "label": "3"}\n', 1),
    ],
)
def test_last_line_is_mended(tmp_path: Path, tail: bytes, kept: int) -> None:
    """What a crash left of a line is removed before the next is written; a whole line stays."""
    store = _store(tmp_path)
    store.add(PNG, "7", {})
    with (tmp_path / LABELS_FILE).open("ab") as labels:
        labels.write(tail)
    store.add(PNG, "8", {})
    labels_read = [row["label"] for row in _rows(tmp_path)]
    assert labels_read == ["7", *["3"] * kept, "8"]


def test_foreign_lines_outlive_a_deletion(tmp_path: Path) -> None:
    """Lines that are no corrections stay as they are."""
    store = _store(tmp_path)
    name = store.add(PNG, "7", {})
    foreign = f'[]\n"{name}.png"\nnonsense {name}.png\n' + "[" * 9999 + f"{name}.png\n"
    with (tmp_path / LABELS_FILE).open("a") as labels:
        labels.write(foreign)
    store.remove(name)
    assert (tmp_path / LABELS_FILE).read_text() == foreign


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that gets full in the middle of a line leaves neither the line nor the picture."""
    store = _store(tmp_path)
    store.add(PNG, "7", {})
    before = (tmp_path / LABELS_FILE).read_bytes(), _pictures(tmp_path)
    write, left = os.write, len(PNG) + 20

    def write_until_full(file: int, content: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(28, "No space left on device")
        written = write(file, content[:left])
        left -= written
        return written

    monkeypatch.setattr(correction_store.os, "write", write_until_full)
    with pytest.raises(StorageError, match="No space left on device"):
        store.add(PNG, "8", {})
    monkeypatch.undo()
    assert ((tmp_path / LABELS_FILE).read_bytes(), _pictures(tmp_path)) == before


@pytest.mark.parametrize("room", [0, 100])
def test_deleting_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """On a full disk, picture and line are deleted, and the others stay as they are read."""
    store = _store(tmp_path)
    names = [store.add(PNG, label, {"note": "x" * 200}) for label in "1234"]
    write, left = os.write, room

    def write_until_full(file: int, content: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(file, content[:left])
        left -= written
        return written

    with monkeypatch.context() as full:
        full.setattr(correction_store.os, "write", write_until_full)
        for name in (names[1], names[3]):
            store.remove(name)
            with pytest.raises(NotFoundError):
                store.remove(name)
    assert [row.label for row in read_label_table(tmp_path / LABELS_FILE)] == ["1", "3"]
    content = (tmp_path / LABELS_FILE).read_text()
    assert names[1] not in content
    assert content.count("\n") == 4
    assert _pictures(tmp_path) == {f"{names[0]}.png", f"{names[2]}.png"}
    store.remove(names[0])  # with room, blank lines go, too
    assert [row["label"] for row in _rows(tmp_path)] == ["3"]
    assert {path.name for path in tmp_path.iterdir()} == {LABELS_FILE, ".lock", f"{names[2]}.png"}


def test_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """It is not made again: it may be a disk that is not mounted. When it is back, all works."""
    folder = tmp_path / "folder"
    make_folder(folder)
    store = _store(folder)
    name = store.add(PNG, "7", {})
    shutil.rmtree(folder)
    for call in (lambda: store.add(PNG, "7", {}), lambda: store.remove(name)):
        with pytest.raises(StorageError, match="No such file or directory"):
            call()
    make_folder(folder)
    store.add(PNG, "7", {})
    assert len(_rows(folder)) == 1


def test_folder_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link that the operator has set is followed; one that takes its place later is not."""
    folder, other, link = (tmp_path / name for name in ("folder", "other", "link"))
    folder.mkdir()
    other.mkdir()
    link.symlink_to(folder)
    store = _store(link)
    store.add(PNG, "7", {})
    assert len(_rows(folder)) == 1
    folder.rename(tmp_path / "away")
    folder.symlink_to(other)
    with pytest.raises(StorageError):
        store.add(PNG, "7", {})
    assert list(other.iterdir()) == []


@pytest.mark.parametrize("name", [LABELS_FILE, ".lock"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_planted_files_are_not_followed(tmp_path: Path, name: str, kind: str) -> None:
    """A link, a pipe or a folder in the place of a file is refused, and nothing waits for it."""
    folder, target = tmp_path / "folder", tmp_path / "target"
    folder.mkdir()
    target.write_bytes(b"precious")
    match kind:
        case "link":
            (folder / name).symlink_to(target)
        case "pipe":
            os.mkfifo(folder / name)
        case _:
            (folder / name).mkdir()
    with pytest.raises(StorageError):
        _store(folder).add(PNG, "7", {})
    assert target.read_bytes() == b"precious"
    assert not _pictures(folder)


def test_link_with_the_name_of_a_picture_is_deleted_alone(tmp_path: Path) -> None:
    """Deleting a correction whose picture is a link deletes the link, not what it names."""
    folder, target = tmp_path / "folder", tmp_path / "target"
    folder.mkdir()
    target.write_bytes(b"precious")
    name = "0" * 32
    (folder / f"{name}.png").symlink_to(target)
    _store(folder).remove(name)
    assert target.read_bytes() == b"precious"
    assert not _pictures(folder)


def test_lock_of_a_process_that_hangs_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hangs with the lock makes others fail soon; its death frees the lock."""
    monkeypatch.setattr(correction_store, "LOCK_WAIT_S", 0.05)
    store = _store(tmp_path)
    with _start(HOLDER, tmp_path) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(StorageError, match="another process keeps it locked"):
            store.add(PNG, "7", {})
        holder.kill()
    store.add(PNG, "7", {})
