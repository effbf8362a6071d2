"""Opens the models that the settings name."""

from app.inference.registry import Registry
from app.settings import Settings


def load_models(settings: Settings) -> Registry:
    """Open the bundles and load the default model.

    Raises:
        BundleError: There is no bundle, a damaged one, or none with the default's name; or the
            default's compiled model cannot be run.
    """
    models = open_models(settings)
    models.load()
    return models


def open_models(settings: Settings) -> Registry:
    """Open the bundles without loading a model.

    Raises:
        BundleError: There is no bundle, a damaged one, or none with the default's name.
    """
    return Registry(
        settings.model_dir,
        settings.default_model,
        # One for each thread of both pools: a slow inspection never holds the interpreter that a
        # prediction needs.
        interpreters=settings.threads + settings.slow_threads,
        max_batch=settings.max_batch,
        max_delay_s=settings.max_delay_ms / 1000,
        quick_below_s=settings.quick_below_s,
    )
