"""A folder of corrections: 28x28 pictures with their right labels, which clients have sent.

`ID.png` holds a picture. A line of `labels.jsonl` holds its label and all else that is known; its
`path` and `label` are those that `digitscope evaluate` and `digitscope adapt` read. Every id is
made here: nothing that a client sends becomes a part of a path.

Several processes may use one folder. A lock on `.lock` lets one of them at a time write or delete;
the system releases it when a process dies. A picture is written before its line, so a crash leaves
at most a picture without a line, or a part of the last line, which the next correction removes.

Knows files; knows nothing of requests or networks.
"""

import errno
import fcntl
import json
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from app.cancellation import check_cancelled
from app.errors import NotFoundError, StorageError, StorageFullError

log = logging.getLogger(__name__)
LABELS_FILE = "labels.jsonl"
_LOCK_FILE, _PART_FILE = ".lock", ".labels.part"
BLOCK_BYTES = 4096  # of a file system; a file takes a whole number of them
LOCK_WAIT_S, LOCK_POLL_S = 2.0, 0.01  # seconds to wait for the lock, and between two tries
_IS_ID = re.compile("[0-9a-f]{32}").fullmatch
MAX_LINE_BYTES = 1 << 16  # a line with a hundred classes has 3 KB
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}  # a full disk, or a user's full share of it
_MODE = 0o600  # of files: only the service's user reads what clients have drawn


def make_folder(folder: Path) -> None:
    """Make the folder if it is missing, for the user of this process alone.

    Raises:
        OSError: It cannot be made, or this process may not write into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "this user may not write into it")


class _Usage(NamedTuple):
    """What the folder held when it looked like `stamp`: pictures, and bytes of all files."""

    pictures: int
    size: int
    stamp: tuple[int, ...]


class CorrectionStore:
    """The corrections of one folder."""

    def __init__(self, folder: Path, *, max_items: int, max_bytes: int) -> None:
        """Use a folder; it is opened at each call, not now.

        Args:
            folder: The folder. If it is a link, it is followed now and never again.
            max_items: Most pictures in it.
            max_bytes: Most bytes in it: those of `labels.jsonl`, and a block of 4 KiB for each
                other file, because no 28x28 is larger.
        """
        self._folder = Path(os.path.realpath(folder))
        self._max_items, self._max_bytes = max_items, max_bytes
        self._usage = _Usage(0, 0, ())

    def add(self, picture: bytes, label: str, details: Mapping[str, Any]) -> str:
        """Store a correction and return its id.

        Args:
            picture: A PNG file.
            label: The right label.
            details: What else is written into its line; values for JSON.

        Raises:
            StorageFullError: The folder holds as much as it may.
            StorageError: It cannot be written, or other processes keep it locked.
        """
        name = secrets.token_hex(16)
        line = json.dumps({"path": f"{name}.png", "label": label, **details}) + "\n"
        with self._locked() as folder, _open_labels(folder) as labels:
            end = _mend(labels)
            usage = self._check_room(folder, labels, BLOCK_BYTES + len(line))
            try:
                with _opened(folder, f"{name}.png", os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
                    _write(file, picture)
                _write(labels, line.encode())
            except OSError:  # such as a full disk
                with suppress(OSError):
                    os.ftruncate(labels, end)
                with suppress(OSError):
                    os.unlink(f"{name}.png", dir_fd=folder)
                raise
            size = usage.size + BLOCK_BYTES + len(line)
            self._usage = _Usage(usage.pictures + 1, size, _stamp(folder, labels))
        return name

    def remove(self, name: str) -> None:
        """Delete the picture and the line of a correction.

        Raises:
            NotFoundError: There is no correction of this id.
            StorageError: The folder cannot be written, or other processes keep it locked.
        """
        is_found = False
        if _IS_ID(name):
            with self._locked() as folder, _open_labels(folder) as labels:
                is_found = _drop_line(folder, labels, f"{name}.png")
                with suppress(FileNotFoundError):
                    os.unlink(f"{name}.png", dir_fd=folder)
                    is_found = True
        if not is_found:
            raise NotFoundError(f"There is no correction {name[:40]!r}.")

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Yield a descriptor of the folder, which no other thread or process changes meanwhile.

        Raises:
            StorageError: Something in the block failed, or the lock is not free.
        """
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                with _opened(folder, _LOCK_FILE, os.O_RDWR | os.O_CREAT) as lock:
                    _lock(lock)
                    yield folder
            finally:
                os.close(folder)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            log.error("the corrections in %s cannot be changed: %s", self._folder, reason)
            raise StorageError(
                f"The folder of corrections cannot be changed: {reason}. Nothing was stored or"
                " deleted."
            ) from error

    def _check_room(self, folder: int, labels: int, size: int) -> _Usage:
        """Return what the folder holds, if it has room for a picture more that takes `size` bytes.

        Raises:
            StorageFullError: It has none.
        """
        usage = self._usage
        if usage.stamp != _stamp(folder, labels):  # changed by another process, or by hand
            usage = _measure(folder, labels)
        if usage.pictures >= self._max_items or usage.size + size > self._max_bytes:
            raise StorageFullError(
                f"The folder of corrections is full: it holds {usage.pictures} pictures and"
                f" {usage.size} bytes, of at most {self._max_items} and {self._max_bytes}. Nothing"
                " was stored. Delete corrections, or ask the operator to empty the folder."
            )
        return usage


@contextmanager
def _opened(folder: int, name: str, flags: int) -> Iterator[int]:
    """Yield the descriptor of a regular file in a folder; a link or another kind is refused."""
    file = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, _MODE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, f"{name} is no regular file")
        yield file
    finally:
        os.close(file)


def _open_labels(folder: int) -> AbstractContextManager[int]:
    return _opened(folder, LABELS_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND)


def _lock(file: int) -> None:
    """Lock a file for this descriptor alone.

    Raises:
        TimeoutError: Another process has kept it locked for `LOCK_WAIT_S`.
    """
    give_up_at = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise TimeoutError(errno.ETIMEDOUT, "another process keeps it locked") from None
        check_cancelled()
        time.sleep(LOCK_POLL_S)


def _stamp(folder: int, labels: int) -> tuple[int, ...]:
    """Return what changes when a file is added or deleted, or a line."""
    of_folder, of_labels = os.fstat(folder), os.fstat(labels)
    return of_folder.st_mtime_ns, of_labels.st_size, of_labels.st_ino


def _measure(folder: int, labels: int) -> _Usage:
    """Count the pictures and the bytes of a folder: 10,000 pictures take a few milliseconds."""
    names = os.listdir(folder)
    pictures = sum(name.endswith(".png") for name in names)
    size = BLOCK_BYTES * len(names) + os.fstat(labels).st_size
    return _Usage(pictures, size, _stamp(folder, labels))


def _write(file: int, content: bytes) -> None:
    """Write all of the content; a disk that gets full takes a part of it first."""
    while content:
        content = content[os.write(file, content) :]


def _mend(labels: int) -> int:
    """Let the file of labels end in a whole line; return its size.

    A crash may have left a part of a line, which is removed. A last line without a line feed, which
    an editor may have written, is kept.
    """
    size = os.fstat(labels).st_size
    tail = os.pread(labels, MAX_LINE_BYTES, max(0, size - MAX_LINE_BYTES))
    rest = tail[tail.rfind(b"\n") + 1 :]
    if not rest:
        return size
    if len(rest) == MAX_LINE_BYTES or _path_in(rest):
        _write(labels, b"\n")
        return size + 1
    log.warning("removed %d bytes of a correction that was not written to its end", len(rest))
    os.ftruncate(labels, size - len(rest))
    return size - len(rest)


def _path_in(line: bytes) -> str:
    """Return the path of the picture that a line describes, or "" if it describes none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    path = row.get("path") if isinstance(row, dict) else None
    return path if isinstance(path, str) else ""


def _drop_line(folder: int, labels: int, path: str) -> bool:
    """Delete the lines of one picture from the labels; return whether it had one.

    The labels are written again without them. A full disk has no room for that, so there the lines
    become blank, which readers skip; the next deletion with room leaves out blank lines, too.
    """

    def is_of_picture(line: bytes) -> bool:
        return path.encode() in line and _path_in(line) == path

    with open(os.dup(labels), "rb") as lines:
        if not any(map(is_of_picture, lines)):
            return False
        try:
            lines.seek(0)
            _rewrite(folder, (line for line in lines if line.strip() and not is_of_picture(line)))
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            lines.seek(0)
            _blank(folder, lines, is_of_picture)
    return True


def _rewrite(folder: int, lines: Iterable[bytes]) -> None:
    """Replace the labels by other lines as a whole."""
    try:
        with _opened(folder, _PART_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as part:
            for line in lines:
                _write(part, line)
        os.replace(_PART_FILE, LABELS_FILE, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(_PART_FILE, dir_fd=folder)
        raise


def _blank(folder: int, lines: Iterable[bytes], is_chosen: Callable[[bytes], bool]) -> None:
    """Write spaces over the chosen ones of the labels' lines, which takes no room on the disk."""
    with _opened(folder, LABELS_FILE, os.O_WRONLY) as labels:  # O_APPEND would write at the end
        start = 0
        for line in lines:
            if is_chosen(line):
                os.pwrite(labels, b" " * len(line.rstrip(b"\r\n")), start)
            start += len(line)
