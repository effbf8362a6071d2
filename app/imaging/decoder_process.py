"""The program of a decoder process: decodes image files for `app.imaging.decoder_pool`.

Runs Pillow on untrusted bytes in a process of its own, so that a file which takes too long or too
much memory can be stopped without harm to the service. The file and its pixels go through a shared
file in memory, because a pipe would take as long as the decoder. Messages on the pipes are fixed
numbers and JSON: neither side unpickles anything.
"""

import json
import os
import resource
import struct
import sys
import warnings

from app.errors import DigitscopeError
from app.imaging.decode import decode

REQUEST = struct.Struct("<QQ")  # largest number of pixels, bytes of the file
RESPONSE_SIZE = struct.Struct("<I")  # bytes of the JSON that follows
MEMORY_ERROR = "MemoryError"  # an error's name that is no `DigitscopeError`
PLAIN_FIELDS = ("format", "width", "height", "factor", "warnings")  # of `Upload`, as JSON
READY = b"ready"  # written once, when everything is imported
MAX_SHARED_BYTES = 1 << 28  # of the shared file


def serve(source: int, sink: int, shared: int) -> None:
    """Decode files until the input ends.

    Args:
        source: File descriptor of the pipe with requests.
        sink: File descriptor of the pipe for responses.
        shared: File descriptor of the file that holds the image file, then the pixels.
    """
    os.write(sink, READY)
    while head := os.read(source, REQUEST.size):
        max_pixels, size = REQUEST.unpack(head)
        text = json.dumps(_decode(os.pread(shared, size, 0), max_pixels, shared)).encode()
        os.write(sink, RESPONSE_SIZE.pack(len(text)) + text)


def _decode(data: bytes, max_pixels: int, shared: int) -> dict[str, object]:
    try:
        upload = decode(data, max_pixels=max_pixels)
    except DigitscopeError as error:
        return {"error": type(error).__name__, "detail": error.detail}
    except MemoryError:
        return {"error": MEMORY_ERROR, "detail": ""}
    written = _write(shared, upload.pixels.reshape(-1).data, 0)
    if upload.alpha is not None:
        _write(shared, upload.alpha.reshape(-1).data, written)
    return {
        "shape": upload.pixels.shape,
        "has_alpha": upload.alpha is not None,
        **{name: getattr(upload, name) for name in PLAIN_FIELDS},
    }


def _write(shared: int, values: memoryview, start: int) -> int:
    at = start
    while values:
        written = os.pwrite(shared, values, at)
        values, at = values[written:], at + written
    return at


def _limit_memory(extra_bytes: int) -> None:
    """Let the process map at most so many bytes more than it has mapped by now."""
    with open("/proc/self/statm", "rb") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    limit = mapped + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Serve on standard input and output.

    The arguments are the memory limit in bytes and the file descriptor of the shared file.
    """
    memory_bytes, shared = (int(argument) for argument in sys.argv[1:])
    warnings.simplefilter("ignore")  # Pillow warns once for each damaged tag
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_SHARED_BYTES, MAX_SHARED_BYTES))
    if sys.platform == "linux":
        _limit_memory(memory_bytes)
    serve(sys.stdin.fileno(), sys.stdout.fileno(), shared)


if __name__ == "__main__":
    main()
