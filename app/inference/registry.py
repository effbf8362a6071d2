"""The models that a process serves, by name: kept, loaded on demand, swapped when files change.

Follows the folder of bundles, and compiles the Keras file of a bundle that lacks a compiled model.
A model that cannot be served keeps the reason until its files change. Knows bundles and runtimes;
knows nothing of requests.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from app.bundle import KERAS_FILE, Bundle, open_bundle
from app.cancellation import cancel_scope
from app.errors import BundleError
from app.inference.bundle_check import check_bundle
from app.inference.compile_queue import CompileQueue
from app.inference.entries import Entries, Entry
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import load_keras
from app.inference.loading import LoadOptions, check_model, load_model, read_compiled
from app.inference.model import Model
from app.inference.model_folder import (
    MAX_DEPTH,
    MAX_FILES,
    NO_FILES,
    TOO_MANY_FILES,
    UNREAD,
    FileStamp,
    ModelFolder,
)
from app.periodic_task import PeriodicTask
from app.process_tuning import trim_heap

log = logging.getLogger(__name__)
# Seconds between two looks at the folder. A change takes effect at the second look that finds it,
# and when its model is loaded: within 3 s for the committed models on two cores.
POLL_S = 0.5
MAX_WAIT_S = 5.0  # seconds that `close` waits for a model that is being loaded


class Registry:
    """Every model of a folder.

    The bundles are opened at once; `load` and `get` load the models. `watch` follows the folder.

    Attributes:
        default: Name of the model for requests that name none.
        on_batch: Called with the number of images after each run of a joined batch.
    """

    def __init__(
        self,
        folder: Path,
        default: str,
        *,
        interpreters: int,
        preloaded: int | None = None,
        max_batch: int = 1,
        max_delay_s: float = 0.0,
        quick_below_s: float = 0.0,
    ) -> None:
        """Open and verify every bundle; a damaged one fails alone, unless it is the default.

        Args:
            folder: A folder with one bundle in each subfolder.
            default: Name of the model for requests that name none.
            interpreters: See `LoadOptions`.
            preloaded: How many of them the default model loads at once; None for all.
            max_batch: See `LoadOptions`.
            max_delay_s: See `LoadOptions`.
            quick_below_s: See `LoadOptions`.

        Raises:
            BundleError: There is no bundle, none with the default's name, or that one is damaged.
        """
        self._folder = ModelFolder(folder)
        names = self._folder.names()
        if default not in names:
            raise BundleError(
                f"The default model {default!r} is not in {folder}, which holds"
                f" {', '.join(names)}. Set DIGITSCOPE_DEFAULT_MODEL to one of these."
            )
        self.default = default
        self.on_batch: Callable[[int], None] = lambda images: None
        self._entries = Entries()
        self._preloaded = interpreters if preloaded is None else preloaded
        self._options = LoadOptions(interpreters, max_batch, max_delay_s, quick_below_s)
        self._loading = threading.RLock()  # held while a model is loaded, and while it is replaced
        self._compiling = CompileQueue(self._compile)
        self._watcher: PeriodicTask | None = None
        self._trim_due = False  # whether bundles were read or models dropped at the last look
        stamp = self._folder.stamp(default)
        self._entries.put(Entry(default, stamp, self._open_files(default, stamp)))
        for name in names:
            if name != default:
                with suppress(BundleError):  # logged and kept by `_reading`
                    self._open(name)

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Return the state of all models by name, at one moment."""
        return self._entries.by_name

    @property
    def bundles(self) -> Mapping[str, Bundle]:
        """Return the bundles of the models that could be opened by name, at one moment."""
        return self._entries.bundles

    @property
    def ignored(self) -> Mapping[str, str]:
        """Return by name what the folder holds that is no bundle, with what to do."""
        return self._folder.ignored

    def load(self) -> None:
        """Load the default model; compile the models that lack it in a background thread.

        Raises:
            BundleError: The default's compiled model cannot be run.
        """
        self.load_default()
        self.compile_missing()

    def load_default(self) -> None:
        """Load the default model, unless it must be compiled first. Starts no thread.

        The other models are loaded when they are first asked for: each takes 20 to 50 MB, the
        ensemble 180 MB.

        Raises:
            BundleError: The default's compiled model cannot be run.
        """
        entry = self.entries[self.default]
        if entry.bundle and entry.bundle.is_compiled:
            model = self._build(entry.bundle, read_compiled(entry.bundle))
            self._entries.put(replace(entry, model=model))

    def compile_missing(self) -> None:
        """Start to compile the models that lack a compiled model, in a background thread."""
        for name, each in self.entries.items():
            if each.state == "compiling":
                self._compiling.start(name)

    def check_default(self) -> None:
        """Check the content of the default's bundle without loading its model.

        Raises:
            BundleError: It cannot be served.
        """
        check_bundle(self.find_bundle(self.default))

    def is_current(self) -> bool:
        """Tell whether the folder holds the same files as when they were read."""
        return self._folder.holds({name: each.stamp for name, each in self.entries.items()})

    def observe(self, on_change: Callable[[Entry], None]) -> None:
        """Call a function with the state of each model, now and when that may have changed."""
        self._entries.observe(on_change)

    def watch(self) -> None:
        """Follow the folder in a thread until `close`, so that changed files take effect."""
        self._watcher = PeriodicTask("follow the model folder", POLL_S, self.refresh)

    def refresh(self) -> None:
        """Look at the folder: open added bundles, read changed ones again, drop removed ones.

        The content of bundles that no request has asked for yet is checked, once.
        A change takes effect at the second look that finds the same files. A model that cannot be
        loaded keeps its old version, and is tried again when its files change again.

        Raises:
            OSError: The folder is missing or cannot be read; all models stay.
        """
        changes = self._folder.changes({name: each.stamp for name, each in self.entries.items()})
        for name, stamp in changes.items():
            self._follow(name, stamp)
        unchecked = [
            name
            for name, entry in self.entries.items()
            if not (entry.is_checked or entry.model or entry.failure)
        ]
        for name in unchecked:
            self._check(name)
        is_idle = not (changes or unchecked)
        if self._trim_due and is_idle:
            trim_heap(threading.Barrier(1))
        self._trim_due = not is_idle

    def reload(self, name: str) -> Model:
        """Read a model's bundle again, or one that was just added, and replace the model.

        Requests that have already begun finish with the old model.

        Raises:
            NotFoundError: There is no such model.
            BundleError: The bundle is damaged, or its files do not give the same answers; the old
                model stays.
        """
        if compilation := self.begin_reload(name):
            compilation.result()
        return self.get(name)

    def begin_reload(self, name: str) -> "Future[None] | None":
        """Do what `reload` does, but do not wait for the compiler.

        Returns:
            None if the new model is served; else a future that is done when it has been compiled.

        Raises:
            NotFoundError: As `reload`.
            BundleError: As `reload`; the future raises it, too.
        """
        if name not in self._folder.names():
            self.find_entry(name)  # raises, unless its files were there at the last look
        return self._compiling.start(name) if self._read_and_load(name) is None else None

    def close(self) -> None:
        """Stop following the folder; wait for the compilation that runs, and drop the others."""
        if self._watcher:
            self._watcher.close(MAX_WAIT_S)
        self._compiling.close()

    def get(self, name: str | None) -> Model:
        """Return the model of this name, or the default for None; load it if needed.

        Raises:
            NotFoundError: There is no such model.
            NotReadyError: It is still being compiled, or it cannot be loaded.
        """
        name = name or self.default
        entry = self.find_entry(name)
        if entry.model is None and entry.state == "ready":
            entry = self._load_on_demand(name)
        if entry.model is None:
            raise entry.not_ready()
        return entry.model

    def wait_for(self, name: str | None) -> Model:
        """Wait for a compilation of this model, then return what `get` returns."""
        self._compiling.wait_for(name or self.default)
        return self.get(name)

    def find_bundle(self, name: str) -> Bundle:
        """Return the bundle of this name, whether its model is loaded or not.

        Raises:
            NotFoundError: There is no such model.
            NotReadyError: Its bundle could not be opened.
        """
        entry = self.find_entry(name)
        if entry.bundle is None:
            raise entry.not_ready()
        return entry.bundle

    def find_entry(self, name: str) -> Entry:
        """Return the state of the model of this name.

        Raises:
            NotFoundError: There is no such model.
        """
        return self._entries.find(name)

    def is_loaded(self, name: str | None) -> bool:
        """Tell whether a model, or the default for None, is in memory."""
        entry = self.entries.get(name or self.default)
        return entry is not None and entry.model is not None

    def check_ready(self) -> None:
        """Check that the default model is loaded.

        No other model is needed: while one is compiled, or if it fails, only its requests fail.

        Raises:
            NotReadyError: The default model is being compiled, or could not be compiled.
        """
        if not self.is_loaded(None):
            raise self.entries[self.default].not_ready()

    def _follow(self, name: str, stamp: FileStamp) -> None:
        """Let a change of a bundle take effect; log and keep the reason if it cannot."""
        try:
            if stamp == NO_FILES:
                self._remove(name)
                return
            if name == self.default or self.is_loaded(name):
                must_compile = self._read_and_load(name, unless_same=True) is None
            else:
                self._open(name)
                log.info("read the bundle of the model %s", name)
                must_compile = self.entries[name].state == "compiling"
            if must_compile:
                self._compiling.start(name)
        except (BundleError, MemoryError):
            pass  # logged and kept by `_reading`
        except Exception as error:  # noqa: BLE001 - logged, and the next bundle is looked at
            self._entries.fail(name, stamp, error)

    def _check(self, name: str) -> None:
        """Check the content of a bundle before it is asked for; log and keep its faults.

        Requests for other models are not held up. A bundle that changes meanwhile is checked again.
        """
        with suppress(BundleError, MemoryError), self._reading(name) as stamp:
            entry = self.entries.get(name)
            if entry and entry.bundle and entry.stamp == stamp:
                check_bundle(entry.bundle)
                with self._loading:
                    if self.entries.get(name) is entry:
                        self._entries.put(replace(entry, is_checked=True))

    def _load_on_demand(self, name: str) -> Entry:
        with self._loading:
            entry = self.find_entry(name)
            if entry.model is None and entry.state == "ready":
                try:
                    if self._read_and_load(name) is None:
                        self._compiling.start(name)
                except BundleError:
                    pass  # logged and kept by `_reading`
                except MemoryError:
                    self._entries.put(entry)  # the next request tries again
                    raise
            return self.find_entry(name)

    def _open(self, name: str) -> None:
        """Read a bundle; its model is loaded on demand.

        Requests for other models are not held up. A model that one loads meanwhile stays.
        """
        with self._reading(name) as stamp:
            bundle = self._open_files(name, stamp)
            with self._loading:
                if not self.is_loaded(name):
                    self._entries.put(Entry(name, stamp, bundle))

    def _open_files(self, name: str, stamp: FileStamp) -> Bundle:
        """Read and check the files of a bundle, unless there are too many.

        Raises:
            BundleError: As `open_bundle`, or there are too many.
        """
        folder = self._folder.path / name
        if stamp == TOO_MANY_FILES:
            raise BundleError(
                f"{folder} holds more than {MAX_FILES} files and folders, or more than {MAX_DEPTH}"
                " folders inside each other. Delete those that the bundle does not list."
            )
        return open_bundle(folder)

    def _read_and_load(self, name: str, *, unless_same: bool = False) -> Model | None:
        """Read a bundle and replace its model.

        Args:
            name: Name of the model.
            unless_same: Keep a loaded model if the bundle has the same files.

        Returns:
            The model; None if the bundle has no compiled model, so that it must be compiled.

        Raises:
            BundleError: The bundle cannot be served; the old model stays.
        """
        with self._loading, self._reading(name) as stamp:
            bundle, entry = self._open_files(name, stamp), self.entries.get(name)
            old = entry.model if entry else None
            if unless_same and old and old.bundle.metadata == bundle.metadata:
                self._entries.put(Entry(name, stamp, bundle, old))
                return old
            if bundle.is_compiled:
                return self._load(stamp, bundle, read_compiled(bundle))
            self._entries.put(Entry(name, stamp, old.bundle if old else bundle, old))
            return None

    def _compile(self, name: str) -> None:
        """Compile the Keras file of a bundle and serve the result."""
        log.info("compiling %s: its bundle has no compiled model", name)
        with self._reading(name) as stamp:
            bundle = self._open_files(name, stamp)
            network = load_keras(bundle.read(KERAS_FILE), bundle.metadata.parameters)
            compiled = compile_model(network)
            with self._loading:
                if self._folder.stamp(name) != stamp:
                    raise BundleError(f"{bundle.folder} changed while its network was compiled.")
                self._load(stamp, bundle, compiled)

    def _load(self, stamp: FileStamp, bundle: Bundle, compiled: bytes | None) -> Model:
        """Put a model in the place of an older one, after checking its answers."""
        fresh = self._build(bundle, compiled)
        # The model is for all clients: one that leaves must not make it fail for the others.
        with cancel_scope(threading.Event()):
            check_model(fresh)
        self._entries.put(Entry(bundle.metadata.name, stamp, bundle, fresh))
        log.info("the model %s is version %d", bundle.metadata.name, bundle.metadata.version)
        return fresh

    def _build(self, bundle: Bundle, compiled: bytes | None) -> Model:
        # A model that is rarely asked for starts with one interpreter: each takes about 10 MB, of
        # the ensemble 60 MB.
        is_default = bundle.metadata.name == self.default
        return load_model(
            bundle,
            compiled,
            self._options,
            preloaded=self._preloaded if is_default else 1,
            on_batch=lambda images: self.on_batch(images),
        )

    def _remove(self, name: str) -> None:
        """Drop a model whose files are gone; the default stays in memory."""
        with self._loading:
            if name == self.default:
                reason = f"{self._folder.path / name} is gone"
                log.error("%s: the model %s in memory is served until the end", reason, name)
                self._entries.put(replace(self.entries[name], stamp=NO_FILES, failure=f"{reason}."))
                return
            self._entries.remove(name)
            log.info("removed the model %s: its files are gone", name)

    @contextmanager
    def _reading(self, name: str) -> Iterator[FileStamp]:
        """Yield the stamp of a bundle's files; log and keep the reason if they cannot be served.

        Raises:
            BundleError: The reason, whatever the exception was.
            MemoryError: There is not enough memory.
        """
        stamp = self._folder.stamp(name)
        try:
            yield stamp
        except Exception as error:
            is_removed = stamp == NO_FILES and name != self.default
            detail = self._entries.fail(name, UNREAD if is_removed else stamp, error)
            if isinstance(error, (BundleError, MemoryError)):
                raise
            raise BundleError(detail) from error
