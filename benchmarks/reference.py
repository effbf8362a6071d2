"""Writes docs/settings.md, docs/metrics.md and docs/layers.md from the code; a test compares them.

python -m benchmarks.reference
"""

from collections.abc import Iterable
from pathlib import Path
from textwrap import fill
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from app.network.functions import FUNCTIONS
from app.network.kinds import KINDS
from app.network.layers import operators, passthrough
from app.network.operation import ACTIVATIONS_ONLY
from app.settings import REPOSITORY, Settings
from app.web.observability.metric_definitions import LABELS, METRICS
from benchmarks.page import table

DOCS = REPOSITORY / "docs"


def main() -> None:
    """Write the pages."""
    for name, content in pages().items():
        (DOCS / name).write_text(content)


def pages() -> dict[str, str]:
    """Return the content of each generated page, by file name."""
    return {
        "settings.md": _settings_page(),
        "metrics.md": _metrics_page(),
        "layers.md": _layers_page(),
    }


def _settings_page() -> str:
    rows = [["variable", "default", "range", "meaning"]]
    for name, field in Settings.model_fields.items():
        description = field.description or ""
        rows.append([f"`DIGITSCOPE_{name.upper()}`", _default(field), _range(field), description])
    return (
        "# Settings\n\n"
        "Every setting is an environment variable. `digitscope settings` prints their current"
        " values.\n\n"
        "Generated from `app/settings.py` by `python -m benchmarks.reference`; do not edit.\n\n"
        + table(rows)
    )


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, Path):
        value = value.relative_to(REPOSITORY)
    if value in (None, ""):
        return "unset"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _range(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    bounds: list[str] = []
    for bound in field.metadata:
        match bound:
            case Ge(ge=low):
                bounds.append(f"at least {low}")
            case Gt(gt=low):
                bounds.append(f"above {low}")
            case Le(le=high):
                bounds.append(f"at most {high}")
    if field.annotation is bool:
        return "`true`, `false`"
    return ", ".join(bounds)


def _metrics_page() -> str:
    metrics: list[list[str]] = [["metric", "type", "labels", "meaning"]]
    for entry in METRICS:
        name = f"{entry.name}_total" if entry.kind == "counter" else entry.name
        used = ", ".join(f"`{label}`" for label in entry.labels)
        metrics.append([f"`{name}`", entry.kind, used, entry.meaning])
    labels: list[list[str]] = [["label", "meaning", "values"]]
    for name, label in LABELS.items():
        values = "; ".join(f"`{value}`: {meaning}" for value, meaning in label.values.items())
        labels.append([f"`{name}`", label.meaning, values])
    return (
        "# Metrics\n\n"
        "`/metrics` returns these in Prometheus's text format, summed over all worker"
        " processes.\n\n"
        "Generated from `app/web/observability/metric_definitions.py` by\n`python -m"
        " benchmarks.reference`; do not edit.\n\n"
        + table(metrics)
        + "\nOn Linux, prometheus_client adds `process_*`: processor seconds, memory and open files"
        " of the\nworker processes together, and the start of the first.\n\n## Labels\n\n"
        + table(labels)
    )


def _layers_page() -> str:
    computed = [["class", "supported options"]]
    for name, kind in sorted(KINDS.items()):
        if kind.limits != ACTIVATIONS_ONLY and name not in passthrough.KINDS:
            computed.append([f"`{name}`", kind.limits or "all"])
    shown = (name for name, kind in KINDS.items() if kind.limits == ACTIVATIONS_ONLY)
    return f"""# Layers

This page lists the layers of Keras that the service can look into. [One digit, every
layer](inspection.md) shows what it says about them.

- **Every layer** of a network that the service can run has activations, statistics, pictures and
  comparisons, whatever its class. The explanation method `occlusion` works for every network.
- **Computed layers** also have equations, gradients, steps of learning, ablations and receptive
  fields. The service computes them itself, in NumPy; tests compare the results, and the gradients
  of all weights, with Keras and `tf.GradientTape`.
- **Other layers** get 501 where their arithmetic is needed, with their name, the reason and what
  works instead: equations of other layers, ablations of later layers, and `occlusion`.

Sequential and Functional models may contain each other. Behind the first layers, inputs may have
any size and number of channels. Outputs of more than three axes are shown, but their units have no
address. `data_format` must be `channels_last`; the import of a network rewrites the other order.

Generated from `app/network` by `python -m benchmarks.reference`; do not edit.

## Computed layers

{table(computed)}
{_list("Layers that return their input outside training", passthrough.KINDS)}

{_list("Activation functions of these layers", [*FUNCTIONS, "softmax"])}

{_list("Operators of two inputs, or of an input and a number", operators.KINDS)}

## Layers that are only shown

{_list("Of known classes", shown)}
All other classes are shown, too.
"""


def _list(title: str, names: Iterable[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in sorted(names))
    return fill(f"{title}: {listed}.", width=100)


if __name__ == "__main__":
    main()
