"""compose.yaml: its services and files fit together."""

import re

import pytest
import yaml

from app.settings import REPOSITORY

SERVICES = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]


def _mounts(service: str) -> dict[str, str]:
    """Return the read-only mounts: paths of this repository by paths in the container."""
    parts = (volume.split(":") for volume in SERVICES[service]["volumes"])
    return {inside: outside for outside, inside, mode in parts if mode == "ro"}


def _provisioned(service: str, inside: str) -> dict:
    return yaml.safe_load((REPOSITORY / _mounts(service)[inside]).read_text())


def test_monitoring_is_an_option() -> None:
    """Without the profile `monitoring` only the service starts."""
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert profiles == {
        "digitscope": None,
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }


@pytest.mark.parametrize("service", ["prometheus", "grafana"])
def test_third_party_images_are_pinned(service: str) -> None:
    """Third-party images have a version, and every mounted file exists."""
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[service]["image"])
    assert _mounts(service)
    for path in _mounts(service).values():
        assert (REPOSITORY / path).is_file(), path


def test_metrics_reach_the_dashboard() -> None:
    """Prometheus scrapes the service, Grafana queries Prometheus and loads the dashboard."""
    scraped = _provisioned("prometheus", "/etc/prometheus/prometheus.yml")["scrape_configs"]
    assert [job["static_configs"] for job in scraped] == [[{"targets": ["digitscope:8000"]}]]
    keys = [job["authorization"]["credentials_file"] for job in scraped]
    assert keys == [config["target"] for config in SERVICES["prometheus"]["configs"]]
    provisioning = "/etc/grafana/provisioning"
    sources = _provisioned("grafana", f"{provisioning}/datasources/digitscope.yml")
    assert [source["url"] for source in sources["datasources"]] == ["http://prometheus:9090"]
    providers = _provisioned("grafana", f"{provisioning}/dashboards/digitscope.yml")["providers"]
    (folder,) = [provider["options"]["path"] for provider in providers]
    assert f"{folder}/digitscope.json" in _mounts("grafana")


def test_ports_are_open_to_this_machine_only() -> None:
    """Each port is published on the loopback address only."""
    for name, service in SERVICES.items():
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), name
