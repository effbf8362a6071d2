"""The header Vary of a response: which headers of a request it depends on, each named once."""

VARY = b"vary"


def add_vary(headers: list[tuple[bytes, bytes]], name: bytes) -> None:
    """Add the name of a request's header to the Vary of a response, in one line.

    Args:
        headers: The headers of the response, with names in lower case; changed in place.
        name: The name; nothing changes if it is there already.
    """
    lines = [value for key, value in headers if key == VARY]
    names = [each.strip() for line in lines for each in line.split(b",")]
    if name.lower() in (each.lower() for each in names):
        return
    headers[:] = [(key, value) for key, value in headers if key != VARY]
    headers.append((VARY, b", ".join([*names, name])))
