"""Counts: many at once are counted as one after the other."""

import re

from app.inference.model import Model
from app.recognise import Options, recognise_many
from app.settings import Settings
from app.web.observability.metrics import Metrics
from tests.conftest import Digits
from tests.server.process import metric


def _counts(metrics: Metrics) -> dict[str, float]:
    """Every sample but those that say how long something took, or when."""
    samples = (line.rpartition(" ") for line in metrics.text().decode().splitlines())
    kept = {name: float(value) for name, _, value in samples if not name.startswith("#")}
    return {
        name: round(value, 9)
        for name, value in kept.items()
        if not re.search(r"_created|batch_size|seconds", name)
    }


def test_many_are_counted_as_one_by_one(classic: Model, digits: Digits) -> None:
    """Verdicts and the histogram of confidences are the same, read in parts or one by one."""
    images = [*digits.images[:40], *(255 - digits.images[:9]), digits.images[50].T]
    together, alone = Metrics(), Metrics()
    parts = [recognise_many(images[:30], classic, Options())]
    parts.append(recognise_many([b"no image", *images[30:]], classic, Options()))
    together.read(parts, classic)
    for image in images:
        alone.read([recognise_many([image], classic, Options())], classic)
    assert _counts(together) == _counts(alone)
    text = together.text().decode()
    assert metric(text, "digitscope_verdicts_total") == len(images)
    assert metric(text, "digitscope_confidence_count") == len(images)
    assert metric(text, "digitscope_batch_size_count") == 1
    assert metric(text, "digitscope_batch_size_sum") == len(images)
    assert metric(text, "digitscope_stage_seconds_count") == 2


def test_a_batch_of_errors_counts_no_images(classic: Model) -> None:
    """Where nothing could be read, nothing is counted as read."""
    metrics = Metrics()
    before = _counts(metrics)
    metrics.read([recognise_many([b"no image"], classic, Options())], classic)
    assert _counts(metrics) == before
    assert metric(metrics.text().decode(), "digitscope_batch_size_count") == 0


def test_batches_up_to_the_limit_have_a_place_in_the_histogram() -> None:
    """No batch that is taken by default falls in the last bucket, which has no end."""
    buckets = re.findall(r'digitscope_batch_size_bucket{le="([0-9.]+)"}', Metrics().text().decode())
    assert float(buckets[-1]) >= Settings().max_batch_items
