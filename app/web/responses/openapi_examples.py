"""Examples of the OpenAPI document: a request of each operation that works, and its response.

The requests are made for the default model of this process. The responses come from a file, which
`python -m benchmarks.openapi_examples` makes by sending the example requests; a test compares them.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from app.inference.model import Model

ANSWERS_FILE = "example_answers.json"
WEIGHTS_OPERATION = "get_weights"
MAP_HEAD = "MapHead"  # schema of the JSON in a binary response


@lru_cache(maxsize=1)
def example_answers() -> Mapping[str, Any]:
    """Return the example response of each operation, by its id, and the head of a map."""
    answers: dict[str, Any] = json.loads((files(__package__) / ANSWERS_FILE).read_text("utf-8"))
    return answers


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and description of every operation of a document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def add_examples(document: Mapping[str, Any], model: Model) -> None:
    """Add examples to a document in place: of parameters for a model, and of responses."""
    answers = example_answers()
    if MAP_HEAD in answers:
        document["components"]["schemas"][MAP_HEAD]["example"] = answers[MAP_HEAD]
    for _, _, operation in operations(document):
        values = _parameter_values(
            model, needs_weights=operation["operationId"] == WEIGHTS_OPERATION
        )
        for parameter in operation.get("parameters", ()):
            name = parameter["name"]
            # Swagger UI sends the example of an optional parameter, too: most have none.
            if name in values and (parameter.get("required") or name == "channels"):
                parameter["example"] = values[name]
        if operation["operationId"] in answers:
            content = next(iter(operation["responses"]["200"]["content"].values()))
            content["example"] = answers[operation["operationId"]]


def _parameter_values(model: Model, *, needs_weights: bool) -> dict[str, str | int]:
    """Return values of parameters with which every operation works for a model."""
    layers = model.network.layers
    last = max((place for place, layer in enumerate(layers) if layer.weights), default=0)
    metadata = model.bundle.metadata
    return {
        "model": metadata.name,
        "version": str(metadata.version),
        "layer": layers[last if needs_weights else max(0, last - 1)].name,
        "channels": "0",
        "channel": 0,
        "label": 3,
    }
