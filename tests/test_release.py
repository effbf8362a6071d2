"""Check the release: one version, the list of dependencies, the audit, and the CI workflow."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.settings import REPOSITORY
from app.version import VERSION


def _make(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--silent", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def _needed(name: str, found: set[str], extra: str = "") -> set[str]:
    """Add the dependencies of a distribution on this machine, with an extra of it, recursively."""
    for need in map(Requirement, requires(name) or ()):
        needed = canonicalize_name(need.name)
        if needed not in found and (not need.marker or need.marker.evaluate({"extra": extra})):
            found.add(needed)
            _needed(needed, found)
    return found


def test_version_is_that_of_the_changelog() -> None:
    """The version is semantic, is set in app/version.py, and is the newest in CHANGELOG.md."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert version("digitscope") == VERSION
    headings = re.findall(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(heading for heading in headings if heading != "Unreleased") == VERSION


@pytest.mark.slow
def test_sbom_lists_the_dependencies_of_the_service(tmp_path: Path) -> None:
    """`make sbom` lists exactly what the service needs, with versions and licences."""
    sbom = tmp_path / "sbom.json"
    done = _make("sbom", f"SBOM={sbom}")
    assert done.returncode == 0, done.stderr
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.read_text()) is None
    document = json.loads(sbom.read_text())
    assert document["metadata"]["component"]["name"] == "digitscope"
    components = {canonicalize_name(item["name"]): item for item in document["components"]}
    assert set(components) == _needed("digitscope", set(), "grpc")
    for name, component in components.items():
        assert component["version"] == version(name), name
        assert component["purl"].startswith("pkg:pypi/"), name
    unlicensed = {name for name, component in components.items() if not component.get("licenses")}
    assert unlicensed == {"protobuf"}  # its metadata name none


@contextmanager
def _advisories(known: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Run a local OSV service with these advisories; yield its address and its queries."""
    queries = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = query["package"]
            queries.append(f"{package['name']}=={query['version']}")
            advisory = known.get(package["name"])
            found = [{"id": advisory, "affected": [{"package": package}]}] if advisory else []
            body = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query", queries
        finally:
            server.shutdown()
            thread.join()


def _audit(address: str) -> subprocess.CompletedProcess[str]:
    return _make("audit", f"AUDIT=--vulnerability-service osv --osv-url {address}")


@pytest.mark.slow
def test_audit_asks_for_every_pin() -> None:
    """`make audit` asks about each pinned version, and passes without vulnerabilities."""
    with _advisories({}) as (address, queries):
        done = _audit(address)
    assert done.returncode == 0, done.stderr
    pins = (REPOSITORY / "constraints.txt").read_text().split()
    names = [pin.split("==") for pin in pins]
    assert sorted(queries) == sorted(f"{canonicalize_name(name)}=={at}" for name, at in names)


@pytest.mark.slow
def test_audit_fails_for_a_known_vulnerability() -> None:
    """A known vulnerability fails `make audit` and is named."""
    with _advisories({"pillow": "PYSEC-2099-1"}) as (address, _):
        done = _audit(address)
    assert done.returncode != 0
    assert re.search(r"pillow\s.*PYSEC-2099-1", done.stdout)


@pytest.mark.slow
def test_audit_fails_without_the_advisory_service() -> None:
    """An unreachable advisory service fails `make audit`: unknown is not safe."""
    assert _audit("http://127.0.0.1:9/v1/query").returncode != 0


WORKFLOW = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_workflow_uses_the_make_targets() -> None:
    """GitHub's workflow lints, tests and builds the image by make targets that exist."""
    called = re.findall(r"make ([\w-]+)", "\n".join(step.get("run", "") for step in STEPS))
    assert {"lint", "test", "test-rest", "image"} <= set(called)
    for target in called:
        assert _make("--dry-run", target).returncode == 0, target


@pytest.mark.parametrize("system", ["pip", "docker-compose", "github-actions"])
def test_dependabot_watches_all_dependencies(system: str) -> None:
    """Dependabot proposes newer versions of libraries, images and actions."""
    watched = yaml.safe_load((REPOSITORY / ".github" / "dependabot.yml").read_text())["updates"]
    assert system in {update["package-ecosystem"] for update in watched}
