"""The manifests: valid by Kubernetes' schemas, and consistent with the service."""

import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from fastapi.testclient import TestClient

from app.settings import REPOSITORY, Settings

DEPLOY = REPOSITORY / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
MANIFESTS = sorted(path for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml")


def _load(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_fit_their_schemas(path: Path) -> None:
    """Each manifest fits the published schema of its kind, without unknown fields."""
    for version in ("1.31", "1.34"):
        kubernetes_validate.validate(_load(path), version, strict=True)


def _pod_specs() -> list[dict]:
    deployment = _load(KUBERNETES / "deployment.yaml")
    serving = _load(DEPLOY / "kserve" / "inference-service.yaml")
    return [deployment["spec"]["template"]["spec"], serving["spec"]["predictor"]]


def test_predictor_is_a_valid_pod() -> None:
    """KServe deploys the predictor without Knative, and its spec is valid for a Pod."""
    serving = _load(DEPLOY / "kserve" / "inference-service.yaml")
    assert (serving["apiVersion"], serving["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    annotations = serving["metadata"]["annotations"]
    assert annotations == {"serving.kserve.io/deploymentMode": "Standard"}
    spec = dict(serving["spec"]["predictor"])
    assert spec.pop("minReplicas") <= spec.pop("maxReplicas")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": serving["metadata"], "spec": spec}
    kubernetes_validate.validate(pod, "1.34", strict=True)


def test_everything_is_listed() -> None:
    """The kustomization lists every manifest, and each kind occurs once."""
    listed = _load(KUBERNETES / "kustomization.yaml")["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS]
    kinds = [_load(path)["kind"] for path in MANIFESTS]
    assert sorted(kinds) == [
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
    ]


def _containers() -> list[dict]:
    compose = _load(REPOSITORY / "compose.yaml")["services"]["digitscope"]
    environment = [{"name": n, "value": v} for n, v in compose["environment"].items()]
    return [*(pod["containers"][0] for pod in _pod_specs()), {"env": environment}]


def test_settings_exist_and_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each environment variable of each deployment is a valid setting."""
    for container in _containers():
        for variable in container["env"]:
            name = variable["name"].removeprefix("DIGITSCOPE_").lower()
            assert name in Settings.model_fields, variable
            if variable.get("value") is not None:
                monkeypatch.setenv(variable["name"], variable["value"])
        Settings()


def test_grpc_is_reachable() -> None:
    """The port of gRPC is the same in settings, containers, service, network policy and image."""
    compose = _load(REPOSITORY / "compose.yaml")["services"]["digitscope"]
    port = int(compose["environment"]["DIGITSCOPE_GRPC_PORT"])
    assert f"127.0.0.1:{port}:{port}" in compose["ports"]
    for pod in _pod_specs():
        container = pod["containers"][0]
        values = {one["name"]: one.get("value") for one in container["env"]}
        ports = {one["name"]: one["containerPort"] for one in container["ports"]}
        assert int(values["DIGITSCOPE_GRPC_PORT"]) == ports["grpc"] == port
    published = {one["name"]: one for one in _load(KUBERNETES / "service.yaml")["spec"]["ports"]}
    assert (published["grpc"]["port"], published["grpc"]["targetPort"]) == (port, "grpc")
    policy = _load(KUBERNETES / "network-policy.yaml")["spec"]["ingress"][0]["ports"]
    assert {one["port"] for one in policy} == {"http", "grpc"}
    exposed = re.search(r"^EXPOSE (.*)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert exposed[1].split() == ["8000", str(port)]


def test_probes_and_paths_exist(client: TestClient) -> None:
    """Every path that is probed or scraped answers."""
    paths = [
        probe["httpGet"]["path"]
        for container in _containers()
        for key, probe in container.items()
        if key.endswith("Probe")
    ]
    monitor = _load(KUBERNETES / "service-monitor" / "service-monitor.yaml")
    paths += [endpoint["path"] for endpoint in monitor["spec"]["endpoints"]]
    assert len(paths) == 6
    for path in paths:
        assert client.get(path).status_code == 200, path


def test_keys_come_from_one_secret() -> None:
    """The pods take their API keys from the secret that Prometheus takes its key from."""
    monitor = _load(KUBERNETES / "service-monitor" / "service-monitor.yaml")
    (endpoint,) = monitor["spec"]["endpoints"]
    secret = endpoint["authorization"]["credentials"]
    assert secret == {"name": "digitscope-keys", "key": "metrics"}
    for pod in _pod_specs():
        variables = {one["name"]: one for one in pod["containers"][0]["env"]}
        source = variables["DIGITSCOPE_API_KEYS"]["valueFrom"]["secretKeyRef"]
        assert source == {"name": secret["name"], "key": "api-keys", "optional": True}


def test_probes_tolerate_a_busy_second() -> None:
    """An answer after 2 s counts, and only the third failure in a row takes a pod away."""
    for pod in _pod_specs():
        ready, live = (pod["containers"][0][f"{kind}Probe"] for kind in ("readiness", "liveness"))
        assert (ready["timeoutSeconds"], ready["failureThreshold"]) == (2, 3)
        assert live["timeoutSeconds"] >= 2
        assert live["failureThreshold"] >= 3
    line = re.search(r"HEALTHCHECK (.*)", (REPOSITORY / "Dockerfile").read_text())
    options = dict(re.findall(r"--([a-z-]+)=(\d+)", line[1]))
    assert int(options["timeout"]) > 2
    assert int(options.get("retries", 3)) >= 3


def test_autoscaler_sets_the_replicas() -> None:
    """The deployment has none, so that applying it again does not undo the autoscaler."""
    deployment = _load(KUBERNETES / "deployment.yaml")
    assert "replicas" not in deployment["spec"]
    target = _load(KUBERNETES / "autoscaler.yaml")["spec"]["scaleTargetRef"]
    assert target["name"] == deployment["metadata"]["name"]


def test_time_to_stop_is_enough() -> None:
    """Kubernetes and Docker wait longer than the drain and the grace period together."""
    for pod in _pod_specs():
        values = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
        needed = float(values["DIGITSCOPE_DRAIN_DELAY_S"]) + float(values["DIGITSCOPE_GRACE_S"])
        assert pod["terminationGracePeriodSeconds"] > needed
    compose = _load(REPOSITORY / "compose.yaml")["services"]["digitscope"]
    assert compose["stop_grace_period"] == "30s"
    assert Settings().drain_delay_s + Settings().grace_s < 30


def test_containers_have_no_privileges() -> None:
    """Containers are not root, have no capabilities, and can write only to /tmp."""
    for pod in _pod_specs():
        assert pod["securityContext"]["runAsNonRoot"] is True
        context = pod["containers"][0]["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]] == ["/tmp"]
