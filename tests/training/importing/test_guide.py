"""docs/import.md: its export from PyTorch, its options and its links to the code."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.settings import REPOSITORY
from digitscope import command
from tests.training.importing.onnx_networks import pytorch_example
from training.importing.digits import SCALED
from training.importing.scale import CANDIDATES, MAX_LOSS_OF_ACCURACY, RELATIVE_MARGIN

GUIDE = (REPOSITORY / "docs" / "import.md").read_text()
NETWORK = """
import torch

torch.manual_seed(1)
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(2704, 10)
)
"""


@pytest.mark.tutorials
def test_export_from_pytorch_is_imported(tmp_path: Path) -> None:
    """The export of the guide is valid Python; the file that it describes is imported.

    Where PyTorch is installed, the export itself runs, on an untrained network.
    """
    (export,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    call = ast.parse(export).body[-1]
    assert isinstance(call, ast.Expr)
    assert "my_model.onnx" in ast.unparse(call)
    path, options = tmp_path / "my_model.onnx", []
    if importlib.util.find_spec("torch"):
        code = NETWORK + export
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
        options = ["--input", "0.1307,0.3081"]
    else:
        pytorch_example(path)
    arguments = ["import", str(path), "--out", str(tmp_path / "models"), *options]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "pixels 0.1307,0.3081" in result.output
    assert "#m=my-model" in result.output


def test_guide_names_every_option_and_range() -> None:
    """The table of options is complete, and the numbers are those of the code."""
    helped = CliRunner().invoke(command, ["import", "--help"], env={"COLUMNS": "200"}).output
    options = set(re.findall(r"--[a-z]+", helped)) - {"--help", "--no"}
    assert options <= set(re.findall(r"`(--[a-z]+)`", GUIDE))
    for scale in CANDIDATES[:3]:
        assert f"`{scale.name}`" in GUIDE
    assert f"{SCALED} labelled training digits" in GUIDE
    assert f"better by {100 * RELATIVE_MARGIN:.0f} %" in GUIDE
    assert MAX_LOSS_OF_ACCURACY == 0.03
    assert "three percentage points" in GUIDE
