"""The alert rules: on metrics that exist, and the same for Prometheus and for its operator."""

import re

import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.settings import REPOSITORY
from app.web.observability.metrics import LABELS, METRICS

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
            assert re.sub("_(total|bucket)$", "", name) in served, name
        for label in ("reason", "lane"):
            for values in re.findall(rf'{label}=~?"([^"]*)"', rule["expr"]):
                assert set(values.split("|")) <= LABELS[label].values.keys(), values
        assert rule["annotations"]["summary"].endswith(".")
