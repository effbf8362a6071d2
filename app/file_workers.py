"""Worker processes that read image files, each with its own copy of a model.

Knows processes, files and models; knows nothing of tables or the command line.
"""

import os
import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Self

from app.batch_files import Row, read_rows
from app.bundle import Bundle
from app.inference.loading import LoadOptions, load_model, read_compiled
from app.inference.model import Model
from app.inference.registry import Registry
from app.process_tuning import end_with, gc_paused
from app.recognise import Options

# A worker gets several files at once, because handing over takes longer than to read a small one.
MAX_TASK_FILES, MAX_TASK_BYTES = 32, 1 << 17
TASKS_PER_WORKER = 4  # that are handed over and not yet written; a slow file delays those behind it
# The model and the options of this worker process, set by `_start_worker`.
_worker_state: list[tuple[Model, Options]] = []


class FileWorkers:
    """Processes that read files; a context manager, which ends them."""

    def __init__(self, bundle: Bundle, options: Options, *, processes: int) -> None:
        """Start the processes.

        On Linux they are forked, because importing the program again takes longer than to read a
        thousand small files. So create them before this process has threads of its own, or has
        loaded a model: LiteRT has threads.

        Args:
            bundle: The bundle of the model, which each process loads.
            options: How the images are read.
            processes: Number of processes.
        """
        self._processes = processes
        self._pool = ProcessPoolExecutor(
            processes,
            mp_context=get_context("fork" if sys.platform == "linux" else "spawn"),
            initializer=_start_worker,
            initargs=(bundle, options, os.getpid()),
        )
        with warnings.catch_warnings():
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
        self._pool.shutdown(cancel_futures=True)

    def read(self, paths: Iterable[Path]) -> Iterator[Row]:
        """Read files and yield their rows in the order of the files.

        Only a few tasks are handed over at a time, so that memory does not grow with the number of
        files.

        Raises:
            BrokenProcessPool: A process has ended, such as one that was killed for its memory.
        """
        running = deque[Future[list[Row]]]()
        for task in _tasks(paths):
            running.append(self._pool.submit(_read_in_worker, task))
            if len(running) > TASKS_PER_WORKER * self._processes:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()


def _tasks(paths: Iterable[Path]) -> Iterator[list[str]]:
    """Split files into tasks of about `MAX_TASK_BYTES`."""
    task, size = list[str](), 0
    for path in paths:
        task.append(str(path))
        with suppress(OSError):  # the worker reports it
            size += path.stat().st_size
        if len(task) == MAX_TASK_FILES or size >= MAX_TASK_BYTES:
            yield task
            task, size = [], 0
    if task:
        yield task


def _start_worker(bundle: Bundle, options: Options, parent: int) -> None:
    end_with(parent)
    with gc_paused():
        _worker_state.append((_load(bundle), options))


def _load(bundle: Bundle) -> Model:
    """Load a model; compile it first if its bundle has no compiled model."""
    if bundle.is_compiled:
        return load_model(
            bundle,
            read_compiled(bundle),
            LoadOptions(interpreters=1),
            preloaded=1,
            on_batch=lambda images: None,
        )
    registry = Registry(bundle.folder.parent, bundle.metadata.name, interpreters=1)
    registry.load()
    return registry.wait_for(bundle.metadata.name)


def _read_in_worker(files: list[str]) -> list[Row]:
    model, options = _worker_state[0]
    return read_rows([Path(file) for file in files], model, options)
