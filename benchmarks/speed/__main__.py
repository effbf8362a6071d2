"""What digitscope costs beside what else does the same: one table, measured by one command.

    python -m benchmarks.speed --base ../digitscope-before
    python -m benchmarks.speed --rows png-16 form --dry

Each case starts digitscope, as it is here and as it is in the folder `--base` (a `git worktree`),
together with what it is compared with, and measures all of them in turn, round by round. Figures
are CPU time of the whole process tree (its user and system time), except where a row says time or
memory. All run the same int8 file of `compact` with LiteRT; explanations use its float32 weights.
The table goes into docs/performance.md; rows that were not measured stay as they are.

Needs `wrk` (Debian's package); the peers' environments are made under `runs/peers`.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from app.settings import REPOSITORY
from benchmarks.load import PNG
from benchmarks.page import replace_rows, table
from benchmarks.speed.contest import HEADER, Case, measure, rows_of
from benchmarks.speed.explanations import explanation_cases
from benchmarks.speed.images import image_cases
from benchmarks.speed.pictures import page_png, photo_jpeg, photo_png, write_folder
from benchmarks.speed.processes import process_cases
from benchmarks.speed.requests import request_cases

PAGE = REPOSITORY / "docs" / "performance.md"
KEYS = (
    *("png-16", "png-1", "png-64", "form", "v2-json", "v2-binary", "v1-json"),
    *("photo-12mp", "photo-2mp", "page", "folder", "form-256"),
    *("integrated", "smoothgrad", "explain-ensemble", "workers", "start"),
)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="A checkout of digitscope to measure as before.")
    parser.add_argument("--rows", nargs="*", choices=KEYS, default=KEYS, help="Default: all.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="Print and write nothing.")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing (Debian: apt-get install wrk)")
    base = arguments.base and arguments.base.resolve()
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder))
        for key in arguments.rows:
            began = time.perf_counter()
            print(f"{key}:", flush=True)
            rows = rows_of(cases[key], measure(cases[key], REPOSITORY, base, arguments.rounds))
            print(f"  {time.perf_counter() - began:.0f} s\n{table([HEADER, *rows])}", flush=True)
            if not arguments.dry:
                replace_rows(PAGE, "speed", [HEADER, *rows])


def make_cases(folder: Path) -> dict[str, Case]:
    """Make the pictures in an empty folder and return all cases."""
    (folder / "digit.png").write_bytes(PNG)
    (folder / "photo.jpg").write_bytes(photo_jpeg())
    (folder / "photo.png").write_bytes(photo_png())
    page, text = page_png()
    (folder / "page.png").write_bytes(page)
    write_folder(folder / "digits")
    return {
        **request_cases(folder),
        **image_cases(folder, text),
        **explanation_cases(folder),
        **process_cases(),
    }


if __name__ == "__main__":
    main()
