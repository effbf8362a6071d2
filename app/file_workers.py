"""Worker processes that read image files, each with its own copy of one or more models.

Knows processes, files and models; knows nothing of tables or the command line.
"""

import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from app.bundle import Bundle
from app.inference.model import Model
from app.interrupts import block_interrupts, interrupt_once, without_interrupts
from app.models import load_bundle
from app.process_tuning import end_with, gc_paused
from app.recognise import Options

# A worker gets several files at once, because handing over takes longer than to read a small one.
MAX_TASK_FILES, MAX_TASK_BYTES = 32, 1 << 17
TASKS_PER_WORKER = 4  # that are handed over and not yet written; a slow file delays those behind it
# What this worker process calls for its tasks, set by `_start_worker`.
_worker_state: list[Callable[[list[Any]], list[Any]]] = []


class ImageFile(Protocol):
    """A file that a worker reads; it may carry more, such as a label."""

    @property
    def path(self) -> Path:
        """Return the path of the file."""
        ...


File = TypeVar("File", bound="Path | ImageFile")
Result = TypeVar("Result")


class FileWorkers(Generic[File, Result]):
    """Processes that read files; a context manager, which ends them."""

    def __init__(
        self,
        read: Callable[[list[File], Sequence[Model], Options], list[Result]],
        bundles: Sequence[Bundle],
        options: Options,
        *,
        processes: int,
    ) -> None:
        """Start the processes.

        On Linux they are forked, because importing the program again takes longer than to read a
        thousand small files. So create them before this process has threads of its own, or has
        loaded a model: LiteRT has threads.

        Args:
            read: Reads a few files with the models, and returns a result for each. A function of a
                module, because processes that are not forked import it.
            bundles: The bundles of the models, which each process loads.
            options: How the images are read.
            processes: Number of processes.
        """
        self._processes = processes
        context = get_context("fork" if sys.platform == "linux" else "spawn")
        self._ends = context.Event()
        self._pool = ProcessPoolExecutor(
            processes,
            mp_context=context,
            initializer=_start_worker,
            initargs=(read, bundles, options, os.getpid(), self._ends),
        )
        self._restore_interrupts = interrupt_once()
        with warnings.catch_warnings(), without_interrupts():
            # Python warns of a fork beside any threads. OpenBLAS's, which NumPy starts, are safe.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pool.submit(int)  # starts all processes

    def __enter__(self) -> Self:
        """Return the workers."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the processes; files that they have begun are finished, others are dropped."""
        self._ends.set()
        self._pool.shutdown(cancel_futures=True)
        self._restore_interrupts()

    def read(self, files: Iterable[File]) -> Iterator[Result]:
        """Read files and yield their results in the order of the files.

        Only a few tasks are handed over at a time, so that memory does not grow with the number of
        files.

        Raises:
            BrokenProcessPool: A process has ended, such as one that was killed for its memory.
        """
        running = deque[Future[list[Result]]]()
        for task in _tasks(files):
            running.append(self._pool.submit(_read_in_worker, task))
            if len(running) > TASKS_PER_WORKER * self._processes:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()


def _tasks(files: Iterable[File]) -> Iterator[list[File]]:
    """Split files into tasks of about `MAX_TASK_BYTES`."""
    task, size = list[File](), 0
    for file in files:
        task.append(file)
        with suppress(OSError):  # the worker reports it
            size += (file if isinstance(file, Path) else file.path).stat().st_size
        if len(task) == MAX_TASK_FILES or size >= MAX_TASK_BYTES:
            yield task
            task, size = [], 0
    if task:
        yield task


def _start_worker(
    read: Callable[[list[Any], Sequence[Model], Options], list[Any]],
    bundles: Sequence[Bundle],
    options: Options,
    parent: int,
    ends: Event,
) -> None:
    block_interrupts()  # the command ends this process
    end_with(parent)
    with gc_paused():
        models = [load_bundle(bundle, interpreters=1) for bundle in bundles]
    _worker_state.append(lambda files: [] if ends.is_set() else read(files, models, options))


def _read_in_worker(files: list[Any]) -> list[Any]:
    (read,) = _worker_state
    return read(files)
