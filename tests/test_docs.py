"""The pages in docs/ agree with the service."""

import io
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from app.samples import sample_png
from app.settings import REPOSITORY
from benchmarks.reference import pages
from benchmarks.walk import write
from tests.server.process import Server

DOCS = REPOSITORY / "docs"
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


def _numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def _last_places(text: str) -> list[float]:
    """Return the value of the last decimal place of each number; 0 for whole numbers."""
    found = [number.partition("e")[0].partition(".")[2] for number in NUMBER.findall(text)]
    return [10.0 ** -len(decimals) if decimals else 0.0 for decimals in found]


@pytest.mark.slow
def test_inspection_page_is_up_to_date(tmp_path: Path) -> None:
    """The service still gives the words, numbers and pictures of docs/inspection.md."""
    page = tmp_path / "inspection.md"
    shutil.copyfile(DOCS / "inspection.md", page)
    write(page, tmp_path / "images")
    fresh, kept = page.read_text(), (DOCS / "inspection.md").read_text()
    assert NUMBER.sub("#", fresh) == NUMBER.sub("#", kept)
    # Processors add in different orders, so that the last decimal place may differ.
    for got, said, place in zip(_numbers(fresh), _numbers(kept), _last_places(kept), strict=True):
        assert got == pytest.approx(said, rel=1e-3, abs=max(2e-4, 1.01 * place))
    pictures = set(re.findall(r"images/(walk-[a-z]+\.png)", kept))
    assert pictures == {path.name for path in (tmp_path / "images").iterdir()}
    assert pictures <= {path.name for path in (DOCS / "images").iterdir()}


@pytest.mark.slow
def test_the_lines_that_learn_print_what_the_page_says(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ten lines of docs/inspection.md run as they are, against a service at another port."""
    page = (DOCS / "inspection.md").read_text().split("## One step of learning")[1]
    code = page.split("```python\n")[1].split("```")[0]
    said = page.split("They print:\n\n```\n")[1].split("```")[0]
    assert code.count("\n") == 10
    (tmp_path / "digit.png").write_bytes(sample_png(4))
    monkeypatch.chdir(tmp_path)
    with redirect_stdout(io.StringIO()) as printed:
        exec(code.replace("localhost:8000", f"127.0.0.1:{server.port}"), {})
    assert NUMBER.sub("#", printed.getvalue()) == NUMBER.sub("#", said)
    assert _numbers(printed.getvalue()) == pytest.approx(_numbers(said), rel=1e-3)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_exist(page: Path) -> None:
    """The target of every relative link and picture of a page exists."""
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [DOCS / "reliability.md", REPOSITORY / "SECURITY.md"])
def test_named_tests_exist(page: Path) -> None:
    """Every test that a page names as proof exists."""
    named = re.findall(r"`(tests/[^`:]+)::(\w+)`", page.read_text())
    assert len(named) > 15
    for path, name in named:
        written = (REPOSITORY / path).read_text()
        assert re.search(rf"^(async )?def {name}\(", written, re.MULTILINE), f"{path}::{name}"


@pytest.mark.parametrize(("name", "content"), pages().items(), ids=pages())
def test_generated_page_matches_the_code(name: str, content: str) -> None:
    """docs/settings.md and docs/metrics.md are what `python -m benchmarks.reference` writes."""
    assert (DOCS / name).read_text() == content
