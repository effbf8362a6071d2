"""What the commands print: messages, errors and cells of tables.

Texts may contain the names of files and whatever else users and files supply, so none is taken as
markup, and characters that drive a terminal are escaped (`app.printable`).
"""

from typing import TYPE_CHECKING

import typer

from app.printable import printable

if TYPE_CHECKING:
    from rich.text import Text


def say(*messages: str) -> None:
    """Print messages on the standard output stream, each on a line of its own."""
    for message in messages:
        typer.echo(printable(message))


def fail(message: str) -> None:
    """Print an error message in red on the standard error stream."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(printable(message), style="red"), soft_wrap=True)


def cell(text: object, style: str = "") -> "Text":
    """Return a cell of a Rich table that shows the whole text, on several lines if need be."""
    from rich.text import Text

    return Text(printable(str(text)), style=style, overflow="fold")
