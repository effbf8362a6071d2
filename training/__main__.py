"""`python -m training`: the same as `digitscope train`."""

import typer

from training.cli.train import train

typer.run(train)
