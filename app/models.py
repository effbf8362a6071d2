"""The models that the settings ask for."""

from app.inference.registry import Registry
from app.settings import Settings


def load_models(settings: Settings) -> Registry:
    """Open the bundles of the models that are to be served, and load the default model.

    Raises:
        BundleError: There is no bundle, a damaged one, or none with the default's name; or the
            default's twin is no model that can be run.
    """
    models = open_models(settings)
    models.load()
    return models


def open_models(settings: Settings) -> Registry:
    """Open these bundles; nothing is loaded yet.

    Raises:
        BundleError: There is no bundle, a damaged one, or none with the default's name.
    """
    return Registry(
        settings.model_dir,
        settings.default_model,
        # Predictions never wait for what looks inside, which may keep one for long.
        interpreters=settings.threads + settings.slow_threads,
        max_batch=settings.max_batch,
        max_delay_s=settings.max_delay_ms / 1000,
        quick_below_s=settings.quick_below_s,
    )
