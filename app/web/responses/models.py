"""Builds the response bodies that describe the models."""

from typing import Any

from app.bundle import INT8_FILE, Bundle
from app.inference.entries import Entry
from app.web.schemas.models import Metrics, ModelDetails, ModelSummary

# The fields of a failed model whose metadata cannot be read; published types allow no null here.
_NO_BUNDLE = {
    "version": 0,
    "description": "",
    "classes": [],
    "runtime": "litert",
    "sha256": "",
    "parameters": 0,
    "multiply_adds": 0,
    "precision": "float32",
    "test_error_rate": None,
}


def model_summary(entry: Entry, *, default: bool) -> ModelSummary:
    """Return a model in short.

    Args:
        entry: The model with its state.
        default: Whether it is the default model.
    """
    return ModelSummary(**_summary_fields(entry, default=default))


def model_details(entry: Entry, bundle: Bundle, *, default: bool) -> ModelDetails:
    """Return a model in full.

    Args:
        entry: The model with its state.
        bundle: The model's bundle.
        default: Whether it is the default model.
    """
    metadata = bundle.metadata
    return ModelDetails(
        **_summary_fields(entry, default=default),
        created=metadata.created,
        metrics=Metrics(validation=metadata.validation, test=metadata.test),
        recipe=metadata.recipe,
        metadata=metadata,
    )


def _summary_fields(entry: Entry, *, default: bool) -> dict[str, Any]:
    return {
        "name": entry.name,
        "default": default,
        "state": entry.state,
        "reason": entry.failure or None,
        **(_bundle_fields(entry.bundle) if entry.bundle else _NO_BUNDLE),
    }


def _bundle_fields(bundle: Bundle) -> dict[str, Any]:
    metadata = bundle.metadata
    return {
        "version": metadata.version,
        "description": metadata.description,
        "classes": metadata.classes,
        "runtime": metadata.runtime,
        "sha256": metadata.files[bundle.source],
        "parameters": metadata.parameters,
        "multiply_adds": metadata.multiply_adds,
        "precision": "int8" if bundle.has(INT8_FILE) else "float32",
        "test_error_rate": metadata.test.error_rate if metadata.test else None,
    }
