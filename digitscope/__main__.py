"""The command `digitscope`: the commands of the service, and those of training if installed."""

import importlib.util
import sys

from digitscope import NOT_ON_WINDOWS

if sys.platform == "win32":
    sys.exit(NOT_ON_WINDOWS)

from app.lean_imports import disable_pydantic_plugins
from app.process_tuning import gc_frozen_imports

with gc_frozen_imports():
    disable_pydantic_plugins()
    from app.cli import add_missing_commands
    from app.cli import cli as command
    from app.evaluate_cli import evaluate

    if importlib.util.find_spec("keras") and importlib.util.find_spec("training"):
        from training.cli import add_commands

        add_commands(command)
    else:
        command.command()(evaluate)
        add_missing_commands()

__all__ = ["command"]

if __name__ == "__main__":
    command()
