"""What the commands print: messages, errors and cells of tables.

Texts may contain the names of files and whatever else users and files supply, so none is taken as
markup, and characters that drive a terminal are escaped (`app.printable`).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import typer

from app.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.text import Text


def say(*messages: str) -> None:
    """Print messages on the standard output stream, each on a line of its own."""
    for message in messages:
        typer.echo(_encodable(message, sys.stdout))


def fail(message: str) -> None:
    """Print an error message in red on the standard error stream."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(_encodable(message, sys.stderr), style="red"), soft_wrap=True)


def cell(text: object, style: str = "") -> "Text":
    """Return a cell of a Rich table that shows the whole text, on several lines if need be."""
    from rich.text import Text

    return Text(_encodable(str(text), sys.stdout), style=style, overflow="fold")


def progress(*, transient: bool = False) -> "Progress":
    """Return bars that show progress with counts on the standard error stream, once entered.

    Args:
        transient: Whether they vanish at the end.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=transient)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show how many of `total` steps are done; yield what counts one."""
    with progress() as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def _encodable(text: str, stream: TextIO) -> str:
    """Return a text that a stream can hold and that drives no terminal, with escape sequences."""
    encoding = stream.encoding or "utf-8"
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)
