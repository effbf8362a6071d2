"""Measure the gain of running several images in one batch, in CPU microseconds per image.

    python -m benchmarks.batching

Every model runs on one interpreter with one thread, as in the worker threads of the service. The
batch sizes take turns for several rounds. The table is written into docs/performance.md.
"""

import statistics
import time

from app.bundle import COMPILED_FILE, INT8_FILE, METADATA, open_bundle
from app.inference.litert_runtime import LiteRtRuntime
from app.settings import REPOSITORY
from benchmarks.batch import DIGITS
from benchmarks.page import fill, table

PAGE = REPOSITORY / "docs" / "performance.md"
TOGETHER = (1, 4, 16, 32)
ROUNDS = 9
MIN_ROUND_S = 0.2  # shortest round, in seconds of CPU time


def main() -> None:
    """Measure every model and write the table."""
    rows = [["model", *(f"{count} together" for count in TOGETHER), "gain"]]
    for path in sorted((REPOSITORY / "model").glob(f"*/{METADATA}")):
        bundle = open_bundle(path.parent)
        int8 = bundle.read(INT8_FILE) if bundle.has(INT8_FILE) else None
        runtimes = {
            count: LiteRtRuntime(
                bundle.read(COMPILED_FILE), int8=int8, interpreters=1, batch_sizes=(count, 1)
            )
            for count in TOGETHER
        }
        found: dict[int, list[float]] = {count: [] for count in TOGETHER}
        for _ in range(ROUNDS):
            for count, runtime in runtimes.items():
                found[count].append(_microseconds(runtime, count))
        medians = [statistics.median(times) for times in found.values()]
        gain = f"{100 * (1 - min(medians[1:]) / medians[0]):.0f} %"
        rows.append([bundle.metadata.name, *(f"{median:,.0f}" for median in medians), gain])
        print(rows[-1], flush=True)
    fill(PAGE, "batching", table(rows))


def _microseconds(runtime: LiteRtRuntime, count: int) -> float:
    done, began = 0, time.process_time()
    while (spent := time.process_time() - began) < MIN_ROUND_S:
        runtime.predict(DIGITS[:count])
        done += count
    return 1e6 * spent / done


if __name__ == "__main__":
    main()
