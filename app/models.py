"""Opens the models that the settings name."""

from pathlib import Path

from app.bundle import Bundle, open_bundle
from app.errors import BundleError
from app.inference.loading import LoadOptions, load_model, read_compiled
from app.inference.model import Model
from app.inference.model_folder import ModelFolder
from app.inference.registry import Registry
from app.settings import Settings


def load_models(settings: Settings) -> Registry:
    """Open the bundles and load the default model.

    Raises:
        BundleError: There is no bundle, none with the default's name, or that one is damaged or
            cannot be run.
    """
    models = _open(settings)
    models.load()
    return models


def load_for_workers(settings: Settings) -> Registry:
    """Open the bundles and load the default model, for workers that are forked afterwards.

    Starts no thread, and so does not load a model that Keras runs: it is only checked.

    Raises:
        BundleError: As `load_models`.
    """
    models = _open(settings)
    if models.find_bundle(models.default).metadata.runtime == "keras":
        models.check_default()
    else:
        models.load_default()
    return models


def take_over_models(models: Registry, settings: Settings) -> Registry:
    """Return the models of a worker that has just been forked.

    Args:
        models: What `load_for_workers` has returned in the process that was forked.
        settings: The settings.

    Returns:
        The same models; if files have changed since they were read, those of the folder.

    Raises:
        BundleError: As `load_models`.
    """
    if not (models.is_loaded(None) and models.is_current()):
        return load_models(settings)
    models.compile_missing()
    return models


def find_bundle(folder: Path, name: str) -> Bundle:
    """Open the bundle of one model; the others are not looked at.

    Raises:
        BundleError: There is no bundle of this name, or it is damaged.
    """
    names = ModelFolder(folder).names()
    if name not in names:
        raise BundleError(
            f"There is no model {name!r} in {folder}. Available models: {', '.join(names)}."
        )
    return open_bundle(folder / name)


def load_bundle(bundle: Bundle, *, interpreters: int) -> Model:
    """Load the model of one bundle; compile it first if the bundle has no compiled model.

    Args:
        bundle: The bundle.
        interpreters: Calls that the model runs at the same time.

    Raises:
        BundleError: The bundle is damaged, or its network cannot be run.
        NotReadyError: It must be compiled and cannot be.
    """
    if bundle.is_compiled:
        return load_model(
            bundle,
            read_compiled(bundle),
            LoadOptions(interpreters),
            preloaded=1,
            on_batch=lambda images: None,
        )
    name = bundle.metadata.name
    registry = Registry(bundle.folder.parent, name, interpreters=interpreters)
    registry.load()
    try:
        return registry.wait_for(name)
    finally:
        registry.close()


def _open(settings: Settings) -> Registry:
    return Registry(
        settings.model_dir,
        settings.default_model,
        # One for each thread of the three pools: a slow inspection or explanation never holds the
        # interpreter that a prediction needs.
        interpreters=settings.threads + 2 * settings.slow_threads,
        preloaded=settings.threads,
        max_batch=settings.max_batch,
        max_delay_s=settings.max_delay_ms / 1000,
        quick_below_s=settings.quick_below_s,
    )
