"""The alert rules: on metrics that exist, and the same for Prometheus and for its operator."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.inference.entries import Entry
from app.inference.model import Model
from app.inference.model_folder import NO_FILES
from app.recognise import Options, recognise_many
from app.settings import REPOSITORY
from app.web.observability.metric_definitions import LABELS, METRICS
from app.web.observability.metrics import Metrics
from training.unseen import OPEN_DAMAGE

DEPLOY = REPOSITORY / "deploy"
GROUPS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]


def test_rules_are_those_of_the_operator() -> None:
    """Both files have the same groups, and Prometheus reads its own."""
    path = DEPLOY / "kubernetes" / "service-monitor" / "prometheus-rule.yaml"
    assert yaml.safe_load(path.read_text())["spec"]["groups"] == GROUPS
    settings = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert settings["rule_files"] == ["alerts.yml"]


def test_rules_name_metrics_and_labels_that_exist(client: TestClient) -> None:
    """Each metric in a rule is served, and each value of a label is one of its values."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    served = {family.name for family in families} | {metric.name for metric in METRICS}
    rules = [rule for group in GROUPS for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        names = re.findall(r"\b(?:digitscope|process)_\w+", rule["expr"])
        assert names or rule["expr"].startswith("up{"), rule
        for name in names:
            assert re.sub("_(total|bucket|count)$", "", name) in served, name
        for label in ("reason", "lane"):
            for values in re.findall(rf'{label}=~?"([^"]*)"', rule["expr"]):
                assert set(values.split("|")) <= LABELS[label].values.keys(), values
        assert rule["annotations"]["summary"].endswith(".")


DRIFT = next(
    rule["expr"] for group in GROUPS for rule in group["rules"] if "Drift" in rule["alert"]
)


def _drift(text: str) -> float:
    """Return what the rule compares, for the one model and kind of image in the metrics.

    As in Prometheus, a bucket without a share of held-out digits does not count.
    """
    names = re.findall(r"digitscope_\w+", DRIFT)
    assert names[0] == "digitscope_score_bucket"
    assert names[1] == names[3] == "digitscope_score_count"
    samples = [
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in names
    ]
    (count,) = (sample.value for sample in samples if sample.name == names[1])
    buckets, shares = (
        {sample.labels["le"]: sample.value for sample in samples if sample.name == name}
        for name in (names[0], names[2])
    )
    return max(buckets[bound] / count - share for bound, share in shares.items())


@pytest.mark.slow
def test_drift_rule_fires_for_damaged_digits_alone(classic: Model, sample_path: Path) -> None:
    """It fires for damage that the network does not know, not for digits like the held-out ones."""
    limits = [float(limit) for limit in re.findall(r" > ([0-9.]+)", DRIFT)]
    with np.load(sample_path) as sample:
        digits = sample["x_train"][:300]
    assert limits == [0.15, 200]
    assert len(digits) > limits[1]
    drifts = {}
    for name, damage in {"none": lambda image, _: image, **OPEN_DAMAGE}.items():
        rng, metrics = np.random.default_rng(1), Metrics()
        metrics.note_model(Entry("classic", NO_FILES, classic.bundle, classic))
        images = np.stack([damage(image, rng) for image in digits])
        options = Options(preprocess="none")
        metrics.count_predictions([recognise_many(images, classic, options)], classic)
        drifts[name] = _drift(metrics.text().decode())
    assert drifts["none"] < 0.06
    assert min(drifts[name] for name in ("halftone", "torn rows")) > limits[0], drifts
