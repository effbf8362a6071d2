"""Metrics of several worker processes."""

from pathlib import Path

from tests.server.process import eventually, serving


def test_process_metrics_are_those_of_all_workers(tmp_path: Path) -> None:
    """Memory is the sum over the workers, and requests in flight are counted once."""
    with serving(tmp_path, workers=2) as server:
        server.wait_for_starts(2)

        def is_sum() -> bool:
            workers = server.workers()
            statm = [Path(f"/proc/{pid}/statm").read_text().split() for pid in workers]
            used = sum(4096 * int(pages) for _, pages, *_ in statm)
            resident = server.metric("process_resident_memory_bytes")
            return len(workers) == 2 and 0.8 * used < resident < 1.25 * used

        eventually(is_sum)
        assert server.metric("process_cpu_seconds_total") > 0
        assert server.metric("digitscope_requests_in_flight") >= 1
