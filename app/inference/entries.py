"""The state of every model of the folder, whether it can be served or not.

Knows names, files and models; knows nothing of how a model is loaded.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from app.bundle import Bundle
from app.errors import BundleError, NotFoundError, NotReadyError
from app.inference.model import Model
from app.inference.model_folder import FileStamp
from app.printable import printable

log = logging.getLogger(__name__)
ModelState = Literal["ready", "compiling", "failed"]


@dataclass(frozen=True)
class Entry:
    """A model of the folder with its state.

    Attributes:
        name: Its name.
        stamp: Its files when they were last read, whether with success or not.
        bundle: The bundle that is served, or the last one that could be opened; None without one.
        model: The loaded model; None if it has not been asked for yet, or cannot be loaded.
        is_checked: Whether the content of the files was checked, not only their hashes.
        failure: Why the files of `stamp` cannot be served; empty if they can. With a `model`, that
            model is served on.
    """

    name: str
    stamp: FileStamp
    bundle: Bundle | None = None
    model: Model | None = None
    is_checked: bool = False
    failure: str = ""

    @property
    def state(self) -> ModelState:
        """Return `ready` if requests are answered: with the model, or after it is loaded."""
        if self.model:
            return "ready"
        if self.failure or self.bundle is None:
            return "failed"
        return "ready" if self.bundle.is_compiled else "compiling"

    @property
    def version(self) -> int:
        """Return the version of the bundle; 0 if none could be opened."""
        return self.bundle.metadata.version if self.bundle else 0

    @property
    def served_version(self) -> int:
        """Return the version that requests get; 0 if they get none."""
        return self.version if self.state == "ready" else 0

    def not_ready(self) -> NotReadyError:
        """Return the error that says why the model cannot be used."""
        if self.failure or self.bundle is None:
            return NotReadyError(f"The model {self.name!r} could not be loaded: {self.failure}")
        return NotReadyError(
            f"The model {self.name!r} (version {self.bundle.metadata.version}) is being compiled;"
            " try again in a few seconds."
        )


class Entries:
    """All models by name. Readers need no lock: each change replaces the whole mapping.

    Attributes:
        by_name: The state of each model, sorted by name.
        bundles: The bundles of the models that could be opened, by name.
    """

    def __init__(self) -> None:
        """Start without models."""
        self.by_name: Mapping[str, Entry] = {}
        self.bundles: Mapping[str, Bundle] = {}
        self._changing = threading.Lock()  # held for moments, while the mappings are replaced
        self._on_change: Callable[[Entry], None] = lambda entry: None

    def observe(self, on_change: Callable[[Entry], None]) -> None:
        """Call a function with the state of each model, now and after each change.

        A model that is no longer there has no bundle, and the served version 0.
        """
        with self._changing:
            self._on_change = on_change
            for entry in self.by_name.values():
                on_change(entry)

    def find(self, name: str) -> Entry:
        """Return the state of a model.

        Raises:
            NotFoundError: There is no model of this name.
        """
        entry = self.by_name.get(name)
        if entry is None:
            raise NotFoundError(f"There is no model {name!r}.", valid=list(self.by_name))
        return entry

    def put(self, entry: Entry) -> None:
        """Store the state of a model."""
        with self._changing:
            self._replace(dict(sorted({**self.by_name, entry.name: entry}.items())))
            self._on_change(entry)

    def remove(self, name: str) -> None:
        """Drop a model."""
        with self._changing:
            gone = self.by_name.get(name)
            self._replace({each: self.by_name[each] for each in self.by_name if each != name})
            if gone:
                self._on_change(Entry(name, gone.stamp))

    def fail(self, name: str, stamp: FileStamp, error: Exception) -> str:
        """Log and store why a bundle cannot be served; a model in memory is served on.

        Args:
            name: Name of the model, which may be new.
            stamp: The files that cannot be served.
            error: Why. An error other than a `BundleError` is logged with its traceback.

        Returns:
            The reason.
        """
        is_expected = isinstance(error, BundleError)
        # A message may quote names of files, which need not be text that JSON can carry.
        reason = printable(error.detail if isinstance(error, BundleError) else _describe(error))
        entry = self.by_name.get(name, Entry(name, stamp))
        log.error(
            "the bundle of the model %s cannot be served%s: %s",
            name,
            "; its old version is served on" if entry.model else "",
            reason,
            exc_info=None if is_expected else error,
        )
        self.put(replace(entry, stamp=stamp, failure=reason))
        return reason

    def _replace(self, by_name: dict[str, Entry]) -> None:
        self.bundles = {name: each.bundle for name, each in by_name.items() if each.bundle}
        self.by_name = by_name


def _describe(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "There is not enough memory to load it."
    return f"{type(error).__name__}: {error}"
