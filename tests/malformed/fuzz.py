"""Atheris searches for files that the decoder, or the reader of arrays, does not expect.

    make fuzz
    make fuzz FUZZ_SECONDS=3600

It begins with the corpus, and with what earlier runs found interesting (`.fuzz/`, not committed). A
file that raises anything but an error of ours, ends the process or takes five seconds ends the
search and is left in `.fuzz/`: mend that, and add the file to `corpus.FOUND`. Whether files leave
memory behind is seen in `test_images.py`: the fuzzer itself grows by a megabyte and more a second.
"""

import contextlib
import logging
import sys
import warnings

import atheris

with atheris.instrument_imports(include=["app", "PIL"]):
    from app.errors import DigitscopeError
    from app.imaging.candidates import candidates
    from app.imaging.decode import decode
    from app.web.requests.npy_reader import read_npy

from app.settings import REPOSITORY
from tests.malformed.bodies import arrays
from tests.malformed.corpus import pictures

FOLDER = REPOSITORY / ".fuzz"
MAX_PIXELS, MOST_BYTES = 50_000, 20_000  # small, so that many are tried


def try_one(content: bytes) -> None:
    """Read a file as the service would."""
    with contextlib.suppress(DigitscopeError):
        if content.startswith(b"\x93NUMPY"):
            read_npy(content, "[28, 28]", lambda shape: shape == (28, 28))
        else:
            candidates(decode(content, max_pixels=MAX_PIXELS))


def main(seconds: str) -> None:
    """Write the corpus to a folder and search from there."""
    logging.disable()
    warnings.simplefilter("ignore")
    known = FOLDER / "corpus"
    known.mkdir(parents=True, exist_ok=True)
    files = [picture.content for picture in pictures(flips=1)]
    files += [bent.content.partition(b"\r\n\r\n")[2] for bent in arrays()]
    for number, content in enumerate(files):
        if len(content) <= MOST_BYTES:
            (known / f"known-{number:04}").write_bytes(content)
    options = {
        "max_total_time": seconds,
        "max_len": MOST_BYTES,
        "timeout": 5,
        "rss_limit_mb": 0,
        "artifact_prefix": f"{FOLDER}/",
        "print_final_stats": 1,
    }
    atheris.Setup([sys.argv[0], str(known), *(f"-{k}={v}" for k, v in options.items())], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1])
