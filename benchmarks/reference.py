"""Writes docs/settings.md and docs/metrics.md from the code; a test compares them.

python -m benchmarks.reference
"""

from pathlib import Path
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from app.settings import REPOSITORY, Settings
from app.web.observability.metrics import LABELS, METRICS
from benchmarks.page import table

DOCS = REPOSITORY / "docs"


def main() -> None:
    """Write both pages."""
    for name, content in pages().items():
        (DOCS / name).write_text(content)


def pages() -> dict[str, str]:
    """Return the content of each generated page, by file name."""
    return {"settings.md": _settings_page(), "metrics.md": _metrics_page()}


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
        "Generated from `app/web/observability/metrics.py` by `python -m benchmarks.reference`; do"
        " not edit.\n\n" + table(metrics) + "\n## Labels\n\n" + table(labels)
    )


if __name__ == "__main__":
    main()
