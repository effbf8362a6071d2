"""Stores and deletes corrections in a thread of its own: a slow disk delays nothing else."""

from collections.abc import Mapping
from typing import Any

from app.correction_store import CorrectionStore
from app.web.execution.thread_pool import BoundedThreadPool


class CorrectionWriter:
    """A thread for a folder of corrections."""

    def __init__(self, store: CorrectionStore, pool: BoundedThreadPool) -> None:
        """Use `pool`, which has one thread."""
        self._store, self._pool = store, pool

    async def add(self, picture: bytes, label: str, details: Mapping[str, Any]) -> str:
        """Store a correction and return its id; arguments and errors as in `CorrectionStore.add`.

        Raises:
            QueueFullError: Too many corrections wait.
        """
        return await self._pool.run(self._store.add, picture, label, details)

    async def remove(self, name: str) -> None:
        """Delete a correction; errors as in `CorrectionStore.remove`.

        Raises:
            QueueFullError: Too many corrections wait.
        """
        await self._pool.run(self._store.remove, name)

    def close(self) -> None:
        """Drop what waits."""
        self._pool.close()
