"""The notebook docs/layers.ipynb: its form, and that its committed outputs are those of a run."""

import re
import textwrap

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from benchmarks.notebook import NOTEBOOK, pictures, printed, read, run

MAX_SECTIONS, MAX_BYTES = 16, 700_000
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
# Relative and absolute. Processors add in different orders, and training amplifies the differences.
STABLE, VARIES = (1e-3, 1e-3), (0.25, 0.15)
WRONG = """
def wrong(answer):
    if isinstance(answer, tuple):
        return tuple(wrong(one) for one in answer)
    return 1.1 * answer + 1
"""


@pytest.fixture(scope="module")
def notebook() -> NotebookNode:
    """The committed notebook."""
    return read()


def _sections(notebook: NotebookNode) -> list[list[NotebookNode]]:
    """Return the cells of each numbered section."""
    found: list[list[NotebookNode]] = []
    for cell in notebook.cells:
        if re.match(r"## \d+\. ", cell.source):
            found.append([])
        if found:
            found[-1].append(cell)
    return found


def _answers(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if "answer" in cell.metadata.get("tags", [])]


def test_each_section_has_a_picture_a_question_and_a_check(notebook: NotebookNode) -> None:
    """A section draws one picture and asks one question; the next cell checks the answer."""
    sections = _sections(notebook)
    assert 0 < len(sections) <= MAX_SECTIONS
    for number, cells in enumerate(sections, start=1):
        assert cells[0].source.startswith(f"## {number}. ")
        assert sum(pictures(cell) for cell in cells if cell.cell_type == "code") == 1
        assert sum(cell.source.count("**Question") for cell in cells) == 1
        *_, question, check = cells
        assert f"**Question {number}.** " in question.source
        assert check.metadata["tags"] == ["answer"]
        assert re.search(r"^answer = ", check.source, re.MULTILINE)
        assert re.search(r"^assert .*\banswer\b", check.source, re.MULTILINE)


def test_outputs_are_complete_and_small(notebook: NotebookNode) -> None:
    """Every code cell has run once, in order, without errors; the file stays small."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert kinds == {"stream", "display_data"}
    assert NOTEBOOK.stat().st_size < MAX_BYTES


def test_committed_form_is_canonical(notebook: NotebookNode) -> None:
    """The file is what `python -m benchmarks.notebook` writes, and names no editor or machine."""
    assert NOTEBOOK.read_text() == nbformat.writes(notebook) + "\n"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}


def test_links_exist(notebook: NotebookNode) -> None:
    """The target of each relative link exists."""
    text = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert (NOTEBOOK.parent / target).exists(), target


def _with_trials(notebook: NotebookNode) -> NotebookNode:
    """Add each check once more at the end: as it is, and with a wrong answer."""
    longer = nbformat.from_dict({**notebook, "cells": [*notebook.cells, new_code_cell(WRONG)]})
    for cell in _answers(notebook):
        longer.cells.append(new_code_cell(cell.source))
        spoiled = re.sub(r"^(answer = .*)$", r"\1\nanswer = wrong(answer)", cell.source, flags=re.M)
        trial = f"try:\n{textwrap.indent(spoiled, '    ')}\nexcept AssertionError:\n    print('no')"
        longer.cells.append(new_code_cell(trial))
    return longer


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


@pytest.mark.tutorials
def test_the_notebook_runs_and_prints_what_is_committed(notebook: NotebookNode) -> None:
    """A fresh run prints the committed text, and each check refuses a wrong answer."""
    fresh = run(_with_trials(notebook))
    for cell, kept in zip(fresh.cells, notebook.cells, strict=False):
        if kept.cell_type != "code":
            continue
        got, said = printed(cell), printed(kept)
        assert NUMBER.sub("#", got) == NUMBER.sub("#", said), kept.id
        rel, absolute = VARIES if "varies" in kept.metadata.get("tags", []) else STABLE
        assert _numbers(got) == pytest.approx(_numbers(said), rel=rel, abs=absolute), kept.id
        assert pictures(cell) == pictures(kept), kept.id
    trials = fresh.cells[len(notebook.cells) + 1 :]
    assert len(trials) == 2 * len(_answers(notebook)) > 0
    refused = [printed(cell).endswith("no\n") for cell in trials]
    assert refused == [False, True] * len(_answers(notebook))
