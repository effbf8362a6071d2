"""What running images together gains: microseconds an image, of every model and number of images.

    python -m benchmarks.batching

One interpreter on one thread, as a worker's threads have them; all in turn, again and again. Writes
its table into docs/performance.md.
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
ROUNDS, LEAST_S = 9, 0.2  # how long a round runs at least


def main() -> None:
    """Measure and write."""
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
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < LEAST_S:
        runtime.predict(DIGITS[:count])
        done += count
    return 1e6 * spent / done


if __name__ == "__main__":
    main()
