"""The commands of the training; `digitscope` adds them to the commands of the service."""

import typer

from training.cli.adapting import adapt
from training.cli.bundles import card, evaluate, recompile, verify
from training.cli.importing import import_
from training.cli.train import augment, distill, ensemble, train


def add_commands(cli: typer.Typer) -> None:
    """Add the training's commands to a command line."""
    for command in (train, distill, ensemble, adapt, recompile, augment, evaluate, verify, card):
        cli.command()(command)
    cli.command("import")(import_)
