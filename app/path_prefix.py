"""The path prefix under which a reverse proxy publishes the service, such as `/digits`."""

import re

MAX_PREFIX_CHARS = 200
# Segments of harmless characters, which need no escaping in HTML, in JSON and in URLs. A segment of
# dots only would lead elsewhere.
_PREFIX = re.compile(r"(/(?!\.+(/|$))[A-Za-z0-9._~-]+)*")


def parse_prefix(text: str) -> str:
    """Return a prefix without its last slash; `/` and "" give "", which is no prefix.

    Raises:
        ValueError: The text is no path prefix.
    """
    prefix = text.strip().rstrip("/")
    if len(prefix) > MAX_PREFIX_CHARS or not _PREFIX.fullmatch(prefix):
        raise ValueError(
            "expected a path that starts with a slash, of letters, digits and the signs . _ ~ -,"
            " such as /digits"
        )
    return prefix
