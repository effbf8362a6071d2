"""Decodes untrusted image files in processes that can be stopped.

A file may take a decoder seconds and gigabytes, and a thread cannot be stopped. So every file goes
to a decoder process, which may use a limited amount of CPU time and memory, and which is killed
when the work is cancelled. Only PNGs of at most 28x28 are decoded here, because they take
microseconds. Knows processes; knows nothing of requests.
"""

import json
import logging
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from app import errors
from app.cancellation import check_cancelled
from app.imaging.decode import Upload, decode
from app.imaging.decoder_process import MEMORY_ERROR, READY, REQUEST, RESPONSE_SIZE
from app.imaging.file_structure import declared_pixels, decoding_bytes
from app.imaging.png_reader import is_small_png
from app.memory_budget import unlimited
from app.own_modules import command_for, environment_for

log = logging.getLogger(__name__)
POLL_S = 0.05  # between two looks at cancellation and CPU time
# A decoder that waits for a busy machine may take this much longer than its CPU time.
WALL_FACTOR = 10
# glibc in a decoder keeps up to 64 MB for the next image. By default it returns all of it, and the
# page faults take longer than the image: 25 ms instead of 8 for a JPEG of 1600x1200
# (benchmarks/decoding.py). NumPy's BLAS would start threads that a decoder does not need.
_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 26),
    "MALLOC_ARENA_MAX": "1",  # libde265 has a thread; another arena takes 64 MB of addresses
    "OPENBLAS_NUM_THREADS": "1",
}
BASE_BYTES = 1 << 24  # that a decoder holds for any image; measured
# Addresses that a decoder keeps after earlier files: free memory, and the libraries for HEIC. A
# file that needs them gets a new process; else the files before would decide whether it fits.
KEPT_BYTES = 96 << 20
FILE_COPIES = 2  # in the shared file, and in the decoder
KEPT_SHARED_BYTES = 1 << 23  # of the shared file, for the next image; a result has up to 10 MB
START_TIMEOUT_S = 30.0  # for the imports of a decoder on a busy machine


class DecoderPool:
    """Up to `size` decoder processes, started when they are needed and kept for the next file."""

    def __init__(
        self,
        *,
        size: int,
        timeout_s: float,
        memory_bytes: int,
        working_memory: Callable[[int], AbstractContextManager[None]] = unlimited,
    ) -> None:
        """Start no process yet.

        Args:
            size: Largest number of files that are decoded at once; further callers wait.
            timeout_s: CPU seconds that a file may take.
            memory_bytes: Memory that a file may take in a decoder.
            working_memory: Holds so many bytes while a file is decoded (`app.memory_budget`).
        """
        self._working_memory = working_memory
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._size, self._places = size, threading.Semaphore(size)
        self._idle: list[_DecoderProcess] = []
        self._closed = False

    def decode(self, data: bytes, *, max_pixels: int) -> Upload:
        """Decode an image file; see `app.imaging.decode.decode`.

        Raises:
            UndecodableError: Not an image, or a damaged one.
            TooLargeError: Too many pixels, or more CPU time or memory than a file may take.
            OutOfMemoryError: The machine has no memory left for a decoder.
            WorkCancelled: The client has gone, or its deadline has passed.
        """
        if is_small_png(data):
            return decode(data, max_pixels=max_pixels)
        declared = declared_pixels(data)
        pixels = min(declared or max_pixels, max_pixels)
        size = BASE_BYTES + FILE_COPIES * len(data) + decoding_bytes(data, pixels)
        size = min(size, self._memory_bytes)
        # A body that its header refuses is worth no new process.
        may_be_read = declared is not None and declared <= max_pixels
        is_large = may_be_read and size + KEPT_BYTES > self._memory_bytes
        while not self._places.acquire(timeout=POLL_S):
            check_cancelled()
        try:
            with self._working_memory(size):
                return self._decode(data, max_pixels, is_large)
        finally:
            self._places.release()

    def close_idle(self, min_idle_s: float = 0.0) -> None:
        """End the processes that have decoded nothing for so long, to give their memory back."""
        for process in list(self._idle):
            if time.monotonic() - process.used_at >= min_idle_s:
                with suppress(ValueError):  # taken meanwhile
                    self._idle.remove(process)
                    process.stop()

    def close(self) -> None:
        """End all processes; a decoder at work ends after its file."""
        self._closed = True
        self.close_idle()

    def abandon(self) -> None:
        """Forget all processes after a fork: they belong to the process that has started them."""
        self._places = threading.Semaphore(self._size)
        while self._idle:
            self._idle.pop().abandon()

    def _decode(self, data: bytes, max_pixels: int, is_large: bool) -> Upload:
        process = self._take(is_large)
        try:
            answer = process.decode(data, max_pixels, self._timeout_s)
        except BaseException:
            process.stop()
            raise
        self._idle.append(process)
        if self._closed:
            self.close_idle()
        if isinstance(answer, Upload):
            return answer
        name, detail = answer
        if name == MEMORY_ERROR:
            raise errors.TooLargeError(
                f"The image takes more than {self._memory_bytes >> 20} MiB to decode; send a"
                " smaller one, or a JPEG, which is reduced while it is decoded."
            )
        raise getattr(errors, name)(detail)

    def _take(self, is_large: bool) -> "_DecoderProcess":
        """Return an idle process, or a new one in the place of one that cannot be used."""
        with suppress(IndexError):  # another thread has taken the last one
            while self._idle:
                process = self._idle.pop()
                if process.is_alive() and not is_large:
                    return process
                process.stop()
                if is_large:
                    break
        return _DecoderProcess(self._memory_bytes)


class _DecoderProcess:
    def __init__(self, memory_bytes: int) -> None:
        self.used_at = time.monotonic()
        self._shared = _open_shared_file()
        self._process = subprocess.Popen(
            [
                *command_for("app.imaging.decoder_process"),
                str(memory_bytes),
                str(self._shared),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._shared,),
            env=environment_for(**_ENVIRONMENT),
            bufsize=0,
            process_group=0,  # Ctrl-C in a terminal reaches this process alone, which decides
        )
        self._stdin, self._stdout = _fileno(self._process.stdin), _fileno(self._process.stdout)
        try:
            if self._read(len(READY), time.monotonic() + START_TIMEOUT_S, None) != READY:
                raise self._has_ended()
        except BaseException:
            self.stop()
            raise

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Kill the process and close its files."""
        self._process.kill()
        self._process.wait()
        self._close_files()

    def abandon(self) -> None:
        """Close the files of a process that another one has started and uses."""
        self._process.returncode = 0  # nobody waits for it here
        self._close_files()

    def _close_files(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        os.close(self._shared)

    def decode(self, data: bytes, max_pixels: int, timeout_s: float) -> Upload | tuple[str, str]:
        """Send a file and wait for its pixels, or for an error's class name and detail."""
        self.used_at = time.monotonic()
        os.pwrite(self._shared, data, 0)
        wall_end = time.monotonic() + WALL_FACTOR * timeout_s
        cpu_end = self._cpu_seconds() + timeout_s
        try:
            os.write(self._stdin, REQUEST.pack(max_pixels, len(data)))
        except BrokenPipeError:
            raise self._has_ended() from None
        (size,) = RESPONSE_SIZE.unpack(self._read(RESPONSE_SIZE.size, wall_end, cpu_end))
        fields = json.loads(self._read(size, wall_end, None))
        if "error" in fields:
            return fields["error"], fields["detail"]
        shape = tuple(fields.pop("shape"))
        pixels = self._read_array(shape, 0)
        has_alpha = fields.pop("has_alpha")
        alpha = self._read_array(shape[:2], pixels.size) if has_alpha else None
        fields["warnings"] = tuple(fields["warnings"])
        if len(data) > KEPT_SHARED_BYTES:
            os.ftruncate(self._shared, KEPT_SHARED_BYTES)
        return Upload(pixels=pixels, alpha=alpha, **fields)

    def _read_array(self, shape: tuple[int, ...], start: int) -> NDArray[np.uint8]:
        values = np.empty(shape, np.uint8)
        left, at = values.reshape(-1).data, start
        while left:
            got = os.preadv(self._shared, [left], at)
            if not got:
                raise self._has_ended()
            left, at = left[got:], at + got
        return values

    def _read(self, size: int, wall_end: float, cpu_end: float | None) -> bytes:
        data = b""
        while len(data) < size:
            self._wait(wall_end, cpu_end)
            part = os.read(self._stdout, size - len(data))
            if not part:
                raise self._has_ended()
            data += part
        return data

    def _wait(self, wall_end: float, cpu_end: float | None) -> None:
        """Wait until the process has written something, or has ended.

        Raises:
            TooLargeError: The file takes too long.
            WorkCancelled: The client has gone, or its deadline has passed.
        """
        poll = select.poll()
        poll.register(self._stdout, select.POLLIN)
        while not poll.poll(POLL_S * 1000):
            check_cancelled()
            too_long = cpu_end is not None and self._cpu_seconds() > cpu_end
            if too_long or time.monotonic() > wall_end:
                raise errors.TooLargeError(
                    "The image takes too long to decode; send a smaller one, or a JPEG, which is"
                    " reduced while it is decoded."
                )

    def _cpu_seconds(self) -> float:
        """Return the CPU time of the process; 0 where the system does not tell."""
        if sys.platform != "linux":
            return 0.0
        try:
            return time.clock_gettime((~self._process.pid << 3) | 2)  # clock_getcpuclockid(3)
        except OSError:  # it has ended: the next read tells
            return 0.0

    def _has_ended(self) -> errors.OutOfMemoryError:
        log.error("a decoder process has ended with code %s", self._process.poll())
        return errors.OutOfMemoryError(
            "The decoder process was stopped by the system, which has no memory left; try again."
        )


def _open_shared_file() -> int:
    """Open a file without a name: in memory where the system has such files, else on disk."""
    if sys.platform == "linux":
        return os.memfd_create("digitscope-image")
    descriptor, name = tempfile.mkstemp()
    os.unlink(name)
    return descriptor


def _fileno(pipe: IO[bytes] | None) -> int:
    return cast("IO[bytes]", pipe).fileno()
