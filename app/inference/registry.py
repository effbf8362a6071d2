"""The models that a process serves, by name: kept, loaded on demand, swapped on reload.

Compiles the Keras file of a bundle that lacks a compiled model. Knows bundles and runtimes; knows
nothing of requests.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from app.bundle import COMPILED_FILE, KERAS_FILE, METADATA, Bundle, open_bundle
from app.errors import BundleError, NotFoundError, NotReadyError
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import load_keras
from app.inference.loading import LoadOptions, check_model, load_model
from app.inference.model import Model

log = logging.getLogger(__name__)
FileStamp = tuple[int, ...]  # modification time, size and inode of one file or of several


class Registry:
    """Every model of a folder. The bundles are opened at once; `load` and `get` load the models."""

    def __init__(
        self,
        folder: Path,
        default: str,
        *,
        interpreters: int,
        max_batch: int = 1,
        max_delay_s: float = 0.0,
        quick_below_s: float = 0.0,
    ) -> None:
        """Open and verify every bundle.

        Args:
            folder: A folder with one bundle in each subfolder.
            default: Name of the model for requests that name none.
            interpreters: See `LoadOptions`. The default model loads all of them at once.
            max_batch: See `LoadOptions`.
            max_delay_s: See `LoadOptions`.
            quick_below_s: See `LoadOptions`.

        Raises:
            BundleError: There is no bundle, a damaged one, or none with the default's name.
        """
        self.bundles = _open_bundles(folder)
        if default not in self.bundles:
            raise BundleError(
                f"The default model {default!r} is not in {folder}, which holds"
                f" {', '.join(self.bundles)}. Set DIGITSCOPE_DEFAULT_MODEL to one of these."
            )
        self.default = default
        self._options = LoadOptions(interpreters, max_batch, max_delay_s, quick_below_s)
        self._models: dict[str, Model] = {}
        self._failures: dict[str, str] = {}  # why a model could not be loaded, by name
        self._compiler: ThreadPoolExecutor | None = None
        # A bundle's metadata file is written last: its stamp tells whether the bundle is new.
        self._metadata_stamps = {
            name: _metadata_stamp(bundle) for name, bundle in self.bundles.items()
        }
        self._refused_stamps: dict[str, FileStamp] = {}  # of bundles that a reload refused
        self._loading = threading.Lock()
        # Called with name and version when a model is loaded or replaced.
        self.on_load: Callable[[str, int], None] = lambda name, version: None
        # Called with the number of images after each run of a joined batch.
        self.on_batch: Callable[[int], None] = lambda images: None

    def load(self) -> None:
        """Load the default model; compile the models that lack it in a background thread.

        The other models are loaded when they are first asked for: each takes 20 to 50 MB, the
        ensemble 180 MB.

        Raises:
            BundleError: The default's compiled model cannot be run.
        """
        bundle = self.bundles[self.default]
        if bundle.has(COMPILED_FILE):
            self._models[self.default] = self._load(bundle, bundle.read(COMPILED_FILE))
        missing = [name for name, bundle in self.bundles.items() if not bundle.has(COMPILED_FILE)]
        if missing:
            self._compiler = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")
            for name in missing:
                self._compiler.submit(self._compile, name)

    def reload(self, name: str) -> Model:
        """Read a model's bundle again and replace the model.

        Requests that have already begun finish with the old model.

        Raises:
            NotFoundError: There is no such model.
            BundleError: The bundle is damaged, or its files do not give the same answers; the old
                model stays.
        """
        self.find_bundle(name)
        with self._loading:
            fresh = self._load_from_disk(name)
        log.info("the model %s is now version %d", name, fresh.bundle.metadata.version)
        return fresh

    def changed(self) -> list[str]:
        """Return the models whose bundles were written after they were last loaded or refused."""
        return [
            name
            for name in {**self._models, **self._failures}
            if _metadata_stamp(self.bundles[name]) not in (None, self._metadata_stamps[name])
            and _bundle_stamp(self.bundles[name]) != self._refused_stamps.get(name)
        ]

    def close(self) -> None:
        """Wait for the compilation that runs, and drop those that have not begun."""
        if self._compiler:
            self._compiler.shutdown(wait=True, cancel_futures=True)

    def get(self, name: str | None) -> Model:
        """Return the model of this name, or the default for None; load it if needed.

        Raises:
            NotFoundError: There is no such model.
            NotReadyError: It is still being compiled, or it cannot be loaded.
        """
        name = name or self.default
        if name in self._models:
            return self._models[name]
        bundle = self.find_bundle(name)
        if name not in self._failures and bundle.has(COMPILED_FILE):
            with self._loading:
                if name not in self._models:
                    self._load_or_note_failure(name)
        if name not in self._models:
            raise self._not_ready(name)
        return self._models[name]

    def wait_for(self, name: str | None) -> Model:
        """Wait for a compilation that runs, then return what `get` returns."""
        self.find_bundle(name or self.default)
        if self._compiler:
            self._compiler.shutdown(wait=True)
        return self.get(name)

    def find_bundle(self, name: str) -> Bundle:
        """Return the bundle of this name, whether its model is loaded or not.

        Raises:
            NotFoundError: There is no such model.
        """
        if name not in self.bundles:
            raise NotFoundError(f"There is no model {name!r}.", valid=list(self.bundles))
        return self.bundles[name]

    def is_loaded(self, name: str | None) -> bool:
        """Tell whether a model, or the default for None, is in memory."""
        return (name or self.default) in self._models

    def is_ready(self, name: str) -> bool:
        """Tell whether `get` returns a model: loaded already, or compiled and not known to fail."""
        compiled = name in self._models or self.bundles[name].has(COMPILED_FILE)
        return compiled and name not in self._failures

    def check_ready(self) -> None:
        """Check that the default model is loaded and no other is still being compiled.

        Another model that failed to load does not count: only its own requests fail.

        Raises:
            NotReadyError: The models are not ready.
        """
        for name in self.bundles:
            if name == self.default:
                ready = self.is_loaded(name)
            else:
                ready = self.is_ready(name) or name in self._failures
            if not ready:
                raise self._not_ready(name)

    def _load(self, bundle: Bundle, compiled: bytes) -> Model:
        # A model that is rarely asked for starts with one interpreter: each takes about 10 MB, of
        # the ensemble 60 MB.
        is_default = bundle.metadata.name == self.default
        return load_model(
            bundle,
            compiled,
            self._options,
            preloaded=self._options.interpreters if is_default else 1,
            on_batch=lambda images: self.on_batch(images),
        )

    def _load_from_disk(self, name: str) -> Model:
        """Open a bundle and put its model in place; remember the files of a bundle that fails."""
        stamp = _bundle_stamp(self.bundles[name])
        try:
            return self._replace(name)
        except BundleError:
            self._refused_stamps[name] = stamp
            raise

    def _replace(self, name: str) -> Model:
        folder = self.bundles[name].folder
        stamp, bundle = _metadata_stamp(self.bundles[name]), open_bundle(folder)
        compiled = (
            bundle.read(COMPILED_FILE)
            if bundle.has(COMPILED_FILE)
            else compile_model(load_keras(bundle.read(KERAS_FILE)))
        )
        fresh = self._load(bundle, compiled)
        check_model(fresh)
        self._models[name], self.bundles[name] = fresh, bundle
        self._metadata_stamps[name] = stamp
        self._failures.pop(name, None)
        self.on_load(name, bundle.metadata.version)
        return fresh

    def _compile(self, name: str) -> None:
        log.info("compiling %s: its bundle has no compiled model", name)
        with self._loading:
            self._load_or_note_failure(name)

    def _load_or_note_failure(self, name: str) -> None:
        try:
            self._load_from_disk(name)
        except BundleError as error:
            self._failures[name] = error.detail
            log.error("the model %s cannot be served: %s", name, error.detail)

    def _not_ready(self, name: str) -> NotReadyError:
        """Return the error that says why a model is not ready."""
        if name in self._failures:
            return NotReadyError(f"The model {name!r} could not be loaded: {self._failures[name]}")
        return NotReadyError(
            f"The model {name!r} (version {self.bundles[name].metadata.version}) is being compiled;"
            " try again in a few seconds."
        )


def _open_bundles(folder: Path) -> dict[str, Bundle]:
    folders = sorted(path.parent for path in folder.glob(f"*/{METADATA}"))
    incomplete = sorted(
        path.parent for path in folder.glob(f"*/{KERAS_FILE}") if path.parent not in folders
    )
    if incomplete:
        raise BundleError(
            f"{incomplete[0]} has no {METADATA}: the bundle is incomplete. Restore it or delete it."
        )
    if not folders:
        raise BundleError(
            f"{folder} holds no model bundle (no */{METADATA}). Set DIGITSCOPE_MODEL_DIR to a"
            " folder of bundles, or make one with 'digitscope train'."
        )
    return {path.name: open_bundle(path) for path in folders}


def _metadata_stamp(bundle: Bundle) -> FileStamp | None:
    """Return a value that changes when a bundle is published again; None while it is missing."""
    try:
        stat = (bundle.folder / METADATA).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _bundle_stamp(bundle: Bundle) -> FileStamp:
    """Return a value that changes when any file of a bundle is written again."""
    stamp: list[int] = []
    for path in sorted(bundle.folder.rglob("*")):
        with suppress(OSError):  # deleted since it was listed
            stat = path.stat()
            stamp += (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return tuple(stamp)
