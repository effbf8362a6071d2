"""The Grafana dashboard shows existing metrics by existing labels."""

import json
import re

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.samples import sample_png
from app.settings import REPOSITORY

DASHBOARD = REPOSITORY / "deploy" / "grafana" / "digitscope.json"


def test_every_metric_of_the_dashboard_is_served(client: TestClient) -> None:
    """Each metric and label in the dashboard's queries appears in `/metrics`."""
    client.post("/predict", files={"file": sample_png(7)})
    client.get("/nowhere", headers={"X-Request-Timeout": "never"})
    client.post(
        "/explain?method=integrated-gradients",
        files={"file": sample_png(7)},
        headers={"X-Request-Timeout": "0.0001"},
    )
    served = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        for target in panel["targets"]:
            names = re.findall(r"digitscope_\w+", target["expr"])
            assert names
            for name in names:
                assert name in served, name
            for labels in re.findall(r"by \(([^)]*)\)", target["expr"]):
                assert set(labels.replace(" ", "").split(",")) <= served[names[0]]
