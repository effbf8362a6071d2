"""Tests of the intervals, the test and the calibration that `digitscope evaluate` prints."""

import numpy as np
import pytest
from scipy import stats

from app.evaluation.statistics import expected_calibration_error, mcnemar, reliability, wilson


@pytest.mark.parametrize(("count", "total"), [(0, 1), (1, 1), (0, 50), (3, 200), (9_999, 10_000)])
def test_interval_is_wilsons(count: int, total: int) -> None:
    """The interval is the one that SciPy computes."""
    expected = stats.binomtest(count, total).proportion_ci(0.95, "wilson")
    interval = wilson(count, total)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert interval.low <= count / total <= interval.high
    assert interval.method == "Wilson"


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (1, 0), (5, 5), (3, 12), (40, 7), (30_000, 30_400)]
)
def test_p_value_is_the_exact_one(first: int, second: int) -> None:
    """The p-value is that of SciPy's binomial test, also for counts whose powers overflow."""
    total = first + second
    expected = stats.binomtest(first, total).pvalue if total else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-6)
    assert mcnemar(second, first) == mcnemar(first, second)


def test_calibration_error_counts_each_bin_by_its_answers() -> None:
    """Three sure answers that are right, and one that is wrong at 60 %: 0.75 * 0.1 + 0.25 * 0.6."""
    bins = reliability([0.9, 0.9, 0.9, 0.6], [True, True, True, False])
    assert [each.digits for each in bins] == [1, 3]
    assert expected_calibration_error(bins) == pytest.approx(0.75 * 0.1 + 0.25 * 0.6)


def test_probability_of_1_is_in_the_last_bin() -> None:
    """The largest confidence has no bin of its own."""
    (only,) = reliability(np.ones(3, np.float32), np.array([True, True, True]))
    assert (only.digits, only.confidence, only.accuracy) == (3, 1.0, 1.0)
