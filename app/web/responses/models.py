"""Builds the response bodies that describe the served models."""

from typing import Any

from app.bundle import INT8_FILE, KERAS_FILE, Bundle
from app.web.schemas.models import Metrics, ModelDetails, ModelSummary


def model_summary(bundle: Bundle, *, default: bool) -> ModelSummary:
    """Return a model in short.

    Args:
        bundle: The model's bundle.
        default: Whether it is the default model.
    """
    return ModelSummary(**_summary_fields(bundle, default=default))


def model_details(bundle: Bundle, *, default: bool) -> ModelDetails:
    """Return a model in full.

    Args:
        bundle: The model's bundle.
        default: Whether it is the default model.
    """
    metadata = bundle.metadata
    return ModelDetails(
        **_summary_fields(bundle, default=default),
        created=metadata.created,
        metrics=Metrics(validation=metadata.validation, test=metadata.test),
        recipe=metadata.recipe,
        metadata=metadata,
    )


def _summary_fields(bundle: Bundle, *, default: bool) -> dict[str, Any]:
    metadata = bundle.metadata
    return {
        "name": metadata.name,
        "version": metadata.version,
        "default": default,
        "description": metadata.description,
        "sha256": metadata.files[KERAS_FILE],
        "parameters": metadata.parameters,
        "multiply_adds": metadata.multiply_adds,
        "precision": "int8" if bundle.has(INT8_FILE) else "float32",
        "test_error_rate": metadata.test.error_rate if metadata.test else None,
    }
