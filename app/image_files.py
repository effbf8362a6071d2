"""Reads image files of the command line from disk: regular files only, up to a size.

Knows paths and bytes; knows nothing of images.
"""

import os
import stat
from pathlib import Path

from app.errors import InvalidInputError, TooLargeError

MAX_BYTES_PER_PIXEL = 8  # uncompressed, four channels of 16 bits
MAX_HEADER_BYTES = 1024 * 1024  # metadata, such as an embedded thumbnail or a colour profile
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def max_file_bytes(max_pixels: int) -> int:
    """Return the size of the largest file that is read: of such an image without compression."""
    return max_pixels * MAX_BYTES_PER_PIXEL + MAX_HEADER_BYTES


def read_image_file(path: Path, *, max_pixels: int) -> bytes:
    """Return the content of a regular file.

    A device may never end and a pipe may never begin, so neither is opened.

    Args:
        path: The file.
        max_pixels: Width times height of the largest image that is decoded. A file that is larger
            than such an image without compression is not read.

    Raises:
        InvalidInputError: The file cannot be opened, is no regular file, or grows.
        TooLargeError: The file is too large.
    """
    limit = max_file_bytes(max_pixels)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = KINDS.get(stat.S_IFMT(status.st_mode), "another kind of file")
            raise InvalidInputError(f"Only regular files can be read; this is {kind}.")
        if status.st_size > limit:
            raise TooLargeError(
                f"The file has {status.st_size} bytes; at most {limit} are read. The setting"
                " DIGITSCOPE_MAX_PIXELS determines the limit."
            )
        # Does not wait if the file has become a pipe in the meantime.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            content = stream.read(status.st_size + 1)
    except OSError as error:
        raise InvalidInputError(f"The file cannot be opened: {error.strerror}.") from error
    except ValueError as error:  # a null character
        raise InvalidInputError(f"The file cannot be opened: {error}.") from error
    if len(content) > status.st_size:  # also files of the kernel, whose size it does not tell
        raise InvalidInputError("The file grew while it was read.")
    return content
