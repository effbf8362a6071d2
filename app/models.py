"""Opens the models that the settings name."""

from pathlib import Path

from app.bundle import Bundle, open_bundle
from app.errors import BundleError
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


def open_models(settings: Settings) -> Registry:
    """Open the bundles and check that of the default model, without loading a model.

    Raises:
        BundleError: There is no bundle, none with the default's name, or that one is damaged.
    """
    models = _open(settings)
    models.check_default()
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


def _open(settings: Settings) -> Registry:
    return Registry(
        settings.model_dir,
        settings.default_model,
        # One for each thread of the three pools: a slow inspection or explanation never holds the
        # interpreter that a prediction needs.
        interpreters=settings.threads + 2 * settings.slow_threads,
        max_batch=settings.max_batch,
        max_delay_s=settings.max_delay_ms / 1000,
        quick_below_s=settings.quick_below_s,
    )
