"""Checks by the service's own checks that it serves a bundle, before that is put in place."""

from pathlib import Path

from app import bundle
from app.errors import BundleError
from app.inference.bundle_check import check_bundle
from app.inference.loading import LoadOptions, check_model, load_model, read_compiled
from training.errors import ImportingError


def check_served(folder: Path) -> None:
    """Open, check and load a bundle as the service does.

    Raises:
        ImportingError: The service would refuse the bundle; the message says why.
    """
    try:
        found = bundle.open_bundle(folder)
        check_bundle(found)
        options = LoadOptions(interpreters=1)
        compiled = read_compiled(found)
        check_model(load_model(found, compiled, options, preloaded=1, on_batch=_ignore))
    except BundleError as error:
        reason = error.detail.replace(f"{folder}: ", "").replace(f"{folder}/", "").rstrip(".")
        raise ImportingError(f"The service would not serve this network: {reason}.") from error


def _ignore(_images: int) -> None:
    """Take the number of images of a joined batch."""
