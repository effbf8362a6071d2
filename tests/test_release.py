"""Release habits: one version, the list of what is served, the audit, and what CI calls."""

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


def _needed(name: str, found: set[str]) -> set[str]:
    """Add what a distribution needs on this machine, without its extras, and what that needs."""
    for need in map(Requirement, requires(name) or ()):
        needed = canonicalize_name(need.name)
        if needed not in found and (not need.marker or need.marker.evaluate({"extra": ""})):
            found.add(needed)
            _needed(needed, found)
    return found


def test_version_is_that_of_the_changelog() -> None:
    """The version is a semantic one, written in app/version.py, and the newest in CHANGELOG.md."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert version("digitscope") == VERSION
    headings = re.findall(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(heading for heading in headings if heading != "Unreleased") == VERSION


def test_list_of_what_is_served(tmp_path: Path) -> None:
    """`make sbom` lists what the service needs, nothing else, as CycloneDX: versions, licences."""
    listed = tmp_path / "sbom.json"
    done = _make("sbom", f"SBOM={listed}")
    assert done.returncode == 0, done.stderr
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(listed.read_text()) is None
    bill = json.loads(listed.read_text())
    assert bill["metadata"]["component"]["name"] == "digitscope"
    components = {canonicalize_name(one["name"]): one for one in bill["components"]}
    assert set(components) == _needed("digitscope", set())
    for name, component in components.items():
        assert component["version"] == version(name), name
        assert component["purl"].startswith("pkg:pypi/"), name
    unlicensed = {name for name, component in components.items() if not component.get("licenses")}
    assert unlicensed == {"protobuf"}  # its metadata name none


@contextmanager
def _advisories(known: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Answer as the OSV service does, at an address; and note what is asked."""
    asked = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = query["package"]
            asked.append(f"{package['name']}=={query['version']}")
            found = known.get(package["name"])
            body = json.dumps(
                {"vulns": [{"id": found, "affected": [{"package": package}]}]} if found else {}
            ).encode()
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
            yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
        finally:
            server.shutdown()
            thread.join()


def _audit(address: str) -> subprocess.CompletedProcess[str]:
    return _make("audit", f"AUDIT=--vulnerability-service osv --osv-url {address}")


def test_audit_asks_for_every_pin() -> None:
    """`make audit` asks of each pinned version, and passes where none is known to be at risk."""
    with _advisories({}) as (address, asked):
        done = _audit(address)
    assert done.returncode == 0, done.stderr
    pins = (REPOSITORY / "constraints.txt").read_text().split()
    names = [pin.split("==") for pin in pins]
    assert sorted(asked) == sorted(f"{canonicalize_name(name)}=={at}" for name, at in names)


def test_audit_fails_for_what_is_at_risk() -> None:
    """A known vulnerability fails `make audit` and is named."""
    with _advisories({"pillow": "PYSEC-2099-1"}) as (address, _):
        done = _audit(address)
    assert done.returncode != 0
    assert re.search(r"pillow\s.*PYSEC-2099-1", done.stdout)


def test_audit_fails_where_nothing_can_be_asked() -> None:
    """Advisories out of reach fail `make audit`: unknown is not safe."""
    assert _audit("http://127.0.0.1:9/v1/query").returncode != 0


WORKFLOW = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_workflow_calls_the_same_targets() -> None:
    """GitHub's workflow tests, lints and builds the image by make targets that there are."""
    called = re.findall(r"make (\w+)", "\n".join(step.get("run", "") for step in STEPS))
    assert {"lint", "test", "image"} <= set(called)
    for target in called:
        assert _make("--dry-run", target).returncode == 0, target


@pytest.mark.parametrize("system", ["pip", "docker-compose", "github-actions"])
def test_dependencies_of_each_kind_are_watched(system: str) -> None:
    """Dependabot proposes newer versions of libraries, images and actions."""
    watched = yaml.safe_load((REPOSITORY / ".github" / "dependabot.yml").read_text())["updates"]
    assert system in {one["package-ecosystem"] for one in watched}
