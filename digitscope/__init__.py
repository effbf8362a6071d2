"""digitscope from Python. Importing this module imports nothing else.

A name is imported when it is first used: `command`, the command line.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digitscope.__main__ import command

NOT_ON_WINDOWS = (
    "digitscope runs on Linux and does not start on Windows itself. Use WSL"
    " (https://learn.microsoft.com/windows/wsl) or Docker (docs/deploying.md)."
)

__all__ = ["command"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name != "command":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from digitscope.__main__ import command

    return command
