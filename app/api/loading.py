"""Loads models for the Python API: those of the settings by name, and any bundle by its folder.

Image files are decoded in processes of their own, as in the service. All models share them; they
end with this process.
"""

import atexit
import os
import reprlib
from functools import cache, lru_cache
from pathlib import Path

from pydantic import ValidationError

from app.api.model import Model
from app.bundle import METADATA, Bundle, open_bundle
from app.errors import BundleError, InvalidInputError, NotFoundError
from app.imaging.decoder_pool import DecoderPool
from app.inference.model_folder import ModelFolder
from app.models import load_bundle
from app.page_reading import find_several
from app.recognise import Options
from app.settings import Settings, invalid_settings

_pools: list[DecoderPool] = []


def load(model: str | os.PathLike[str] | None = None) -> Model:
    """Load a model.

    The settings are those of the service, read from the environment: `DIGITSCOPE_MODEL_DIR` and
    `DIGITSCOPE_DEFAULT_MODEL` name the models, `DIGITSCOPE_MAX_PIXELS`,
    `DIGITSCOPE_DECODE_TIMEOUT_S` and `DIGITSCOPE_DECODE_MEMORY_MB` bound what an image may take.

    Args:
        model: A name that `model_names` lists, or the path of a bundle's folder; None for the
            default model.

    Raises:
        NotFoundError: There is no such model or folder.
        BundleError: The bundle is damaged, or its network cannot be run.
        NotReadyError: The bundle has no compiled model, and TensorFlow, which makes one, is not
            installed or cannot.
        InvalidInputError: A setting is invalid, or `model` is neither a name nor a path.
    """
    settings = _read_settings()
    bundle = _find(settings.default_model if model is None else model, settings)
    calls = max(settings.threads, os.cpu_count() or 1)
    decoders = _decoder_pool(calls, settings.decode_timeout_s, settings.decode_memory_mb << 20)
    options = Options(
        max_pixels=settings.max_pixels, decode=decoders.decode, find_several=find_several
    )
    return Model(load_bundle(bundle, interpreters=calls), options, load_again)


def model_names() -> list[str]:
    """Return the names of the models that the settings offer, sorted.

    Raises:
        BundleError: The folder of models cannot be read or holds none.
        InvalidInputError: A setting is invalid.
    """
    return ModelFolder(_read_settings().model_dir).names()


@lru_cache(maxsize=4)
def load_again(folder: str) -> Model:
    """Load, once in a process, a model that another process has sent."""
    return load(Path(folder))


def _read_settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidInputError(" ".join(invalid_settings(error))) from error


def _find(model: str | os.PathLike[str], settings: Settings) -> Bundle:
    """Open the bundle of a name, or of a folder.

    Raises:
        NotFoundError: There is neither.
        BundleError: The bundle is damaged, or there is no folder of models.
        InvalidInputError: It is neither a name nor a path.
    """
    if not isinstance(model, str | os.PathLike) or not isinstance(os.fspath(model), str):
        raise InvalidInputError(
            f"Expected the name of a model or the path of its folder, got {reprlib.repr(model)}."
        )
    if isinstance(model, str) and os.sep not in model:
        names = ModelFolder(settings.model_dir).names()
        if model in names:
            return open_bundle(settings.model_dir / model)
        if not Path(model).is_dir():
            raise NotFoundError(
                f"There is no model {model!r} in {settings.model_dir}; choose one of"
                f" {', '.join(names)}, or give the path of a bundle's folder.",
                valid=names,
            )
    folder = Path(os.path.abspath(model))
    if folder.is_file():
        raise BundleError(
            f"{folder} is a file, not a bundle; import it: digitscope import {folder}"
        )
    if not (folder / METADATA).exists():
        raise NotFoundError(f"{folder} is no bundle: it has no {METADATA}.")
    return open_bundle(folder)


@cache
def _decoder_pool(size: int, timeout_s: float, memory_bytes: int) -> DecoderPool:
    """Return the decoder processes that all models with the same limits share."""
    pool = DecoderPool(size=size, timeout_s=timeout_s, memory_bytes=memory_bytes)
    _pools.append(pool)
    return pool


@atexit.register
def _close_pools() -> None:
    for pool in _pools:
        pool.close()


def _abandon_pools() -> None:
    for pool in _pools:
        pool.abandon()


os.register_at_fork(after_in_child=_abandon_pools)
