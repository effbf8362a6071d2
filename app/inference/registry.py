"""The models that a process serves, by name.

Opens every bundle in a folder, loads its compiled twin, and makes the twin where a bundle has
none. Knows bundles and runtimes; knows nothing of requests.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.bundle import KERAS_FILE, METADATA, TWIN_FILE, Bundle, open_bundle
from app.embeddings import EMBEDDINGS_FILE, Embeddings, read_embeddings
from app.errors import BundleError, NotFoundError, NotReadyError
from app.inference.keras_runtime import compile_twin, load_keras
from app.inference.litert import LiteRtRuntime
from app.inference.runtime import Runtime
from app.network.network import Network, read_network

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A bundle and the runtime that serves it.

    Attributes:
        network: The layers, for looking inside.
        embeddings: Where training digits lie, if the bundle says.
    """

    bundle: Bundle
    runtime: Runtime
    network: Network
    embeddings: Embeddings | None


class Registry:
    """Every model in a folder: bundles are fixed at once, the runtimes come with `load`."""

    def __init__(self, folder: Path, default: str, *, interpreters: int) -> None:
        """Open and verify every bundle.

        Args:
            folder: The folder with one bundle in each subfolder.
            default: Name of the model that answers where none is named.
            interpreters: Calls that one model serves at once.

        Raises:
            BundleError: There is no bundle, a damaged one, or none with the default's name.
        """
        folders = sorted(path.parent for path in folder.glob(f"*/{METADATA}"))
        strays = sorted(
            path.parent for path in folder.glob(f"*/{KERAS_FILE}") if path.parent not in folders
        )
        if strays:
            raise BundleError(
                f"{strays[0]} has no {METADATA}: the bundle is incomplete. Restore it or delete it."
            )
        if not folders:
            raise BundleError(
                f"{folder} holds no model bundle (no */{METADATA}). Set DIGITSCOPE_MODEL_DIR to a"
                " folder of bundles, or make one with 'digitscope train'."
            )
        self.bundles = {path.name: open_bundle(path) for path in folders}
        if default not in self.bundles:
            raise BundleError(
                f"The default model {default!r} is not in {folder}, which holds"
                f" {', '.join(self.bundles)}. Set DIGITSCOPE_DEFAULT_MODEL to one of these."
            )
        self.default = default
        self._interpreters = interpreters
        self._models: dict[str, Model] = {}
        self._failures: dict[str, str] = {}
        self._maker: ThreadPoolExecutor | None = None

    def load(self) -> None:
        """Load every model: those with a twin at once, the others one by one in the background.

        Raises:
            BundleError: A twin is no model that can be run.
        """
        for name, bundle in self.bundles.items():
            if bundle.has(TWIN_FILE):
                self._models[name] = self._load(name, bundle.read(TWIN_FILE))
        missing = [name for name in self.bundles if name not in self._models]
        if missing:
            self._maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="twin")
            for name in missing:
                self._maker.submit(self._make, name)

    def close(self) -> None:
        """Stop making twins."""
        if self._maker:
            self._maker.shutdown(wait=True, cancel_futures=True)

    def get(self, name: str | None) -> Model:
        """Return the model of this name, or the default for None.

        Raises:
            NotFoundError: There is no such model.
            NotReadyError: It is still being compiled, or that failed.
        """
        name = name or self.default
        bundle = self.describe(name)
        if name in self._failures:
            raise NotReadyError(f"The model {name!r} could not be loaded: {self._failures[name]}")
        if name not in self._models:
            raise NotReadyError(
                f"The model {name!r} (version {bundle.metadata.version}) is being compiled; try"
                " again in a few seconds."
            )
        return self._models[name]

    def wait_for(self, name: str | None) -> Model:
        """Return what `get` returns, after waiting for a twin that is still being made."""
        self.describe(name or self.default)
        if self._maker:
            self._maker.shutdown(wait=True)
        return self.get(name)

    def describe(self, name: str) -> Bundle:
        """Return the bundle of this name, loaded or not.

        Raises:
            NotFoundError: There is no such model.
        """
        if name not in self.bundles:
            raise NotFoundError(f"There is no model {name!r}.", valid=list(self.bundles))
        return self.bundles[name]

    def check_ready(self) -> None:
        """Do nothing when every model is loaded.

        Raises:
            NotReadyError: Some model is not.
        """
        for name in self.bundles:
            self.get(name)

    def _load(self, name: str, twin: bytes) -> Model:
        bundle = self.bundles[name]
        try:
            runtime = LiteRtRuntime(twin, interpreters=self._interpreters)
            return Model(bundle, runtime, _network(bundle, runtime), _embeddings(bundle))
        except BundleError as error:
            raise BundleError(f"{bundle.folder}: {error.detail}") from error

    def _make(self, name: str) -> None:
        log.info("compiling the twin of %s, which its bundle lacks", name)
        try:
            self._models[name] = self._load(
                name, compile_twin(load_keras(self.bundles[name].read(KERAS_FILE)))
            )
        except BundleError as error:
            self._failures[name] = error.detail
            log.error("the model %s cannot be served: %s", name, error.detail)


def _network(bundle: Bundle, runtime: Runtime) -> Network:
    """Read a bundle's layers from its Keras file; their shapes are those that the runtime gives."""
    outputs = runtime.inspect(np.zeros((1, 28, 28), np.uint8))
    shapes = {name: values.shape[1:] for name, values in outputs.items()}
    try:
        return read_network(bundle.read(KERAS_FILE), shapes, (28, 28, 1))
    except ValueError as error:
        raise BundleError(f"{KERAS_FILE} and {TWIN_FILE} do not fit: {error}.") from error


def _embeddings(bundle: Bundle) -> Embeddings | None:
    if not bundle.has(EMBEDDINGS_FILE):
        return None
    return read_embeddings(bundle.read(EMBEDDINGS_FILE))
