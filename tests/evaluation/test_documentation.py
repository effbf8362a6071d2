"""docs/your-digits.md describes every field that `digitscope evaluate --json` prints."""

import sys
from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel

from app.evaluation.schema import Figures
from app.settings import REPOSITORY

PAGE = (REPOSITORY / "docs" / "your-digits.md").read_text()


def _rows(model: type[BaseModel], prefix: str, seen: set[type]) -> Iterator[str]:
    """Yield a row for each field, also of the objects in it, but of each kind of object once."""
    seen.add(model)
    for name, field in model.model_fields.items():
        assert field.description, name
        yield f"| `{prefix}{name}` | {field.description} |"
        parts = {field.annotation, *get_args(field.annotation)} - seen
        for part in parts:
            if isinstance(part, type) and part.__module__ == model.__module__:
                dots = "[]." if "list" in str(field.annotation) else "."
                yield from _rows(part, f"{prefix}{name}{dots}", seen)


def table_of_fields() -> str:
    """Return the table of the page; `python -m tests.evaluation.test_documentation` prints it."""
    return "\n".join(["| field | meaning |", "| --- | --- |", *_rows(Figures, "", set())])


def test_page_describes_every_field() -> None:
    """The table of the page is that of the schema."""
    assert table_of_fields() in PAGE


if __name__ == "__main__":
    sys.stdout.write(table_of_fields() + "\n")
