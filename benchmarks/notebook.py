"""Run the notebook docs/layers.ipynb and write its outputs into it.

    python -m benchmarks.notebook

The notebook is its own source: edit its cells in VS Code or JupyterLab, then run this command. It
keeps what the cells print and draw. It drops what the libraries write to stderr, because that
depends on the machine.
"""

import copy
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

from app.settings import REPOSITORY

NOTEBOOK = REPOSITORY / "docs" / "layers.ipynb"
MAX_CELL_S = 300  # a cell, or the start of the kernel, that hangs fails
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def read(path: Path = NOTEBOOK) -> NotebookNode:
    """Read a notebook and check its form."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def run(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with the outputs of a fresh run.

    Raises:
        CellExecutionError: A cell failed, for example because an answer is wrong.
    """
    fresh = copy.deepcopy(notebook)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory() as folder:
        _execute(fresh, Path(folder))
    fresh.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = [_tidy(output) for output in cell.outputs if _is_shown(output)]
    return fresh


def _execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a kernel whose files and sockets are in `folder`."""
    connection = {"transport": "ipc", "connection_file": str(folder / "kernel.json")}
    client = NotebookClient(
        notebook,
        timeout=MAX_CELL_S,
        startup_timeout=MAX_CELL_S,
        kernel_name=KERNEL["name"],
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(REPOSITORY)}},
        config=Config({"KernelManager": connection}),  # opens no port
    )
    # The parent's choice of a backend for pictures is not the notebook's.
    pictures_inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    client.execute(env={**os.environ, **pictures_inline, "IPYTHONDIR": str(folder)})


def printed(cell: NotebookNode) -> str:
    """Return the text that a code cell printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def pictures(cell: NotebookNode) -> int:
    """Return the number of pictures that a code cell drew."""
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def _is_shown(output: NotebookNode) -> bool:
    return output.output_type != "stream" or output.name == "stdout"


def _tidy(output: NotebookNode) -> NotebookNode:
    """Drop the description of a figure that has a picture."""
    if "image/png" in output.get("data", {}):
        output.data = {"image/png": output.data["image/png"]}
        output.metadata = {}
    return output


def main() -> None:
    """Write the outputs of a fresh run into the notebook."""
    nbformat.write(run(read()), NOTEBOOK)


if __name__ == "__main__":
    main()
