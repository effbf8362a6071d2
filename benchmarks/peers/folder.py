"""Read the digits of a folder of PNGs in two processes: `python folder.py FOLDER OUT.csv`."""

import csv
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from digits import Digits


def start() -> None:
    """Load the network in a process."""
    global digits
    digits = Digits()


def read(path: Path) -> tuple[str, int, float]:
    """Return name, digit and probability of a file."""
    answer = digits.read(path.read_bytes())
    return path.name, answer["digit"], max(answer["probabilities"])


if __name__ == "__main__":
    paths = sorted(Path(sys.argv[1]).iterdir())
    with ProcessPoolExecutor(2, initializer=start) as pool, open(sys.argv[2], "w") as out:
        csv.writer(out).writerows(pool.map(read, paths, chunksize=50))
