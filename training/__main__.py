"""`python -m training`: the same as `digitscope train`."""

import typer

from training.cli import train

typer.run(train)
