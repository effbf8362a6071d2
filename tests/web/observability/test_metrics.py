"""The metrics: batches count like single images, and every definition is complete."""

import io
import re
from typing import get_args

import pytest
from PIL import Image
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from app.inference.entries import Entry
from app.inference.model import Model
from app.inference.model_folder import NO_FILES
from app.recognise import Options, recognise_many
from app.samples import sample_png
from app.settings import Settings
from app.verdict import Verdict
from app.web.observability.instruments import FastHistogram
from app.web.observability.metric_definitions import LABELS, METRICS, InputKind, Lane, Rejection
from app.web.observability.metrics import Metrics
from tests.conftest import Digits
from tests.server.process import metric


def _counts(metrics: Metrics) -> dict[str, float]:
    """Return every sample but times and batch sizes."""
    samples = (line.rpartition(" ") for line in metrics.text().decode().splitlines())
    values = {name: float(value) for name, _, value in samples if not name.startswith("#")}
    return {
        name: round(value, 9)
        for name, value in values.items()
        if not re.search(r"^process_|_created|batch_size|seconds", name)
    }


def test_batch_counts_like_single_images(classic: Model, digits: Digits) -> None:
    """Verdicts and confidences are the same for a batch in parts and for its images alone."""
    images = [*digits.images[:40], *(255 - digits.images[:9]), digits.images[50].T]
    together, alone = Metrics(), Metrics()
    parts = [recognise_many(images[:30], classic, Options())]
    parts.append(recognise_many([b"no image", *images[30:]], classic, Options()))
    together.count_predictions(parts, classic)
    for image in images:
        alone.count_predictions([recognise_many([image], classic, Options())], classic)
    assert _counts(together) == _counts(alone)
    text = together.text().decode()
    assert metric(text, "digitscope_verdicts_total") == len(images)
    assert metric(text, "digitscope_confidence_count") == len(images)
    assert metric(text, "digitscope_batch_size_count") == 1
    assert metric(text, "digitscope_batch_size_sum") == len(images)
    assert metric(text, "digitscope_stage_seconds_count") == 2


def test_batch_of_errors_counts_no_images(classic: Model) -> None:
    """A batch without a readable image changes no metric."""
    metrics = Metrics()
    before = _counts(metrics)
    metrics.count_predictions([recognise_many([b"no image"], classic, Options())], classic)
    assert _counts(metrics) == before
    assert metric(metrics.text().decode(), "digitscope_batch_size_count") == 0


def test_histogram_counts_as_that_of_the_library() -> None:
    """Values at, between and beyond the bounds are in the same buckets, one by one or together."""
    bounds, values = (1.0, 2.0, 5.0), [-1.0, 0.0, 1.0, 1.5, 2.0, 2.1, 5.0, 5.1, float("inf")]
    texts = []
    for kind in (Histogram, FastHistogram):
        registry = CollectorRegistry()
        histogram = kind("seconds", "Seconds.", registry=registry, buckets=bounds)
        for value in values:
            histogram.observe(value)
        if isinstance(histogram, FastHistogram):
            histogram.observe_all(values)
            histogram.observe_all(values[2:3])
            histogram.add([3, 0, 1, 0], 4.5)
        else:
            for value in [*values, values[2], 0.0, 0.5, 1.0, 3.0]:
                histogram.observe(value)
        texts.append(re.sub(r".*_created.*", "", generate_latest(registry).decode()))
    assert texts[0] == texts[1]
    assert 'seconds_bucket{le="1.0"} 10.0' in texts[0]


def test_largest_batch_has_a_bucket() -> None:
    """The largest batch that the settings allow by default fits a bucket below infinity."""
    buckets = re.findall(r'digitscope_batch_size_bucket{le="([0-9.]+)"}', Metrics().text().decode())
    assert float(buckets[-1]) >= Settings().max_batch_items


def test_every_metric_is_defined_with_its_labels() -> None:
    """`METRICS` lists what the service exports, and `LABELS` explains every label and value."""
    exported = re.findall(r"^# TYPE (digitscope_\w+) (\w+)$", Metrics().text().decode(), re.M)
    names = [(entry.name + "_total" * (entry.kind == "counter"), entry.kind) for entry in METRICS]
    assert [pair for pair in exported if not pair[0].endswith("_created")] == names
    assert {label for entry in METRICS for label in entry.labels} == LABELS.keys()
    assert LABELS["lane"].values.keys() == set(get_args(Lane))
    assert LABELS["reason"].values.keys() == set(get_args(Rejection))
    assert LABELS["input"].values.keys() == set(get_args(InputKind))
    assert LABELS["verdict"].values.keys() == set(get_args(Verdict))


def test_gauges_are_those_of_the_moment() -> None:
    """Requests in flight and queues are looked at when metrics are written."""
    metrics = Metrics()
    waiting = [3]
    metrics.in_flight = 2
    metrics.watch_queue("fast", lambda: waiting[0])
    text = metrics.text().decode()
    assert metric(text, "digitscope_requests_in_flight") == 2
    assert metric(text, "digitscope_queued", lane="fast") == 3
    waiting[0] = 0
    assert metric(metrics.text().decode(), "digitscope_queued", lane="fast") == 0


def test_scores_are_counted_by_kind_of_image(classic: Model, digits: Digits) -> None:
    """Each image counts once, whether it came alone or in a batch; a page counts its digits."""
    metrics = Metrics()
    stream = io.BytesIO()
    Image.fromarray(255 - digits.images[3]).resize((90, 90)).save(stream, "PNG")
    images = [sample_png(7), stream.getvalue(), *digits.images[:200]]
    results = [recognise_many([image], classic, Options()) for image in images]
    for result in results:
        metrics.count_predictions([result], classic)
    metrics.count_predictions([recognise_many(digits.images[:70], classic, Options())], classic)
    metrics.count_page(12)
    text = metrics.text().decode()
    expected = {"28x28": 1, "image": 1, "pixels": 270, "page": 12}
    counted = {kind: metric(text, "digitscope_inputs_total", input=kind) for kind in expected}
    assert counted == expected
    assert metric(text, "digitscope_score_count") == 272
    scores = [result.predictions.scores[0] for result in results[2:]]
    scores += scores[:70]
    low = metric(text, "digitscope_score_bucket", input="pixels", le="9.5")
    assert low == sum(score <= 9.5 for score in scores) > 0


def test_held_out_shares_fit_the_histograms(classic: Model) -> None:
    """They have the bounds of the histograms that they are compared with, and end near 1."""
    metrics = Metrics()
    metrics.note_model(Entry("classic", NO_FILES, classic.bundle, classic))
    metrics.count_predictions([recognise_many([sample_png(7)], classic, Options())], classic)
    text = metrics.text().decode()
    for held_out, histogram in (
        ("digitscope_held_out_score_share", "digitscope_score_bucket"),
        ("digitscope_held_out_confidence_share", "digitscope_confidence_bucket"),
    ):
        shares = re.findall(rf'{held_out}{{le="([^"]+)",model="classic"}} (\S+)', text)
        bounds = re.findall(rf'{histogram}{{[^}}]*le="([^"]+)"', text)
        assert [bound for bound, _ in shares] == [bound for bound in bounds if bound != "+Inf"]
        values = [float(value) for _, value in shares]
        assert values == sorted(values)
        assert values[0] < 0.01
        assert values[-1] > 0.99
    verdicts = {
        name: metric(text, "digitscope_held_out_verdict_share", verdict=name)
        for name in get_args(Verdict)
    }
    assert sum(verdicts.values()) == pytest.approx(1)
    refusals = classic.bundle.metadata.verdict.false_refusals
    assert verdicts["not-a-digit"] == pytest.approx(refusals, abs=2e-3)
