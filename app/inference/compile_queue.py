"""Compiles bundles that lack a compiled model, one after the other in a thread.

Knows models by name; knows nothing of what compiling does.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from app.errors import NotReadyError


class CompileQueue:
    """A queue of models to compile, with one thread, which starts with the first of them."""

    def __init__(self, compile_bundle: Callable[[str], None]) -> None:
        """Take the function that compiles the model of a name."""
        self._compile_bundle = compile_bundle
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._is_closed = False
        self._last: dict[str, Future[None]] = {}  # the last compilation of each model

    def start(self, name: str) -> "Future[None]":
        """Queue a model, unless it waits already.

        Returns:
            A future that is done when the model is served. It raises a `BundleError` if it cannot
            be, and is cancelled if the queue is closed before.

        Raises:
            NotReadyError: The queue is closed.
        """
        with self._lock:
            if self._is_closed:
                raise NotReadyError("The service is shutting down.")
            last = self._last.get(name)
            if last and not (last.running() or last.done()):
                return last
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="compile")
            self._last[name] = self._executor.submit(self._compile_bundle, name)
            return self._last[name]

    def wait_for(self, name: str) -> None:
        """Wait for the last compilation of a model, if there was one."""
        if last := self._last.get(name):
            wait([last])

    def close(self) -> None:
        """Wait for the compilation that runs, and drop those that have not begun."""
        with self._lock:
            self._is_closed = True
        if self._executor:
            self._executor.shutdown(wait=True, cancel_futures=True)
