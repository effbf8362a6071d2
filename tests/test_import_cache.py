"""`digitscope serve FILE`: the cache of imported networks."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import BundleError
from app.import_cache import import_into_cache, model_name_of


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My Net_2.keras", "my-net-2"),
        ("model.h5", "model"),
        ("\u00fc.keras", "imported"),
        ("--x--.onnx", "x"),
        ("a" * 100, "a" * 60),
    ],
)
def test_name_of_the_model_is_made_of_the_files(file: str, name: str) -> None:
    """The name has letters, digits and hyphens only."""
    assert model_name_of(Path("/somewhere") / file) == name


def test_a_file_is_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same content is taken from the cache; a file that fails is no bundle."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        calls.append(command)
        folder = Path(command[-1]) / command[-3]
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text("{}")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    (tmp_path / "net.keras").write_bytes(b"one")
    first = import_into_cache(tmp_path / "net.keras")
    assert import_into_cache(tmp_path / "net.keras") == first
    assert len(calls) == 1
    (tmp_path / "net.keras").write_bytes(b"two")
    assert import_into_cache(tmp_path / "net.keras") != first
    assert calls[0][:5] == [sys.executable, "-P", "-m", "digitscope", "import"]


@pytest.mark.slow
def test_serve_names_a_file_that_is_no_network(tmp_path: Path) -> None:
    """The command ends with code 1 and a sentence on the file."""
    file = tmp_path / "net.keras"
    file.write_bytes(b"nothing")
    process = subprocess.run(
        [sys.executable, "-m", "digitscope", "serve", str(file), "--port", "0"],
        capture_output=True,
        text=True,
        env={"PATH": "", "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd())},
    )
    assert process.returncode == 1
    assert "is no network in a format that is known" in process.stderr
    assert "cannot be imported" in process.stderr


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there has no content to look for in the cache."""
    with pytest.raises(BundleError, match="There is no file"):
        import_into_cache(tmp_path / "nothing.keras")
