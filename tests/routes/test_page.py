"""Serving the page, its files and Swagger UI."""

import gzip
import re

import pytest
from fastapi.testclient import TestClient

from app.imaging.formats import FORMATS
from app.routes.page import FOLDER, without_comments
from app.samples import sample_png


def test_page_is_served_with_a_strict_policy(client: TestClient) -> None:
    """`/` may load files of this service only, and has no inline script or style."""
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", answer.text)


def test_files_without_a_known_type_can_be_chosen(client: TestClient) -> None:
    """Browsers know no type for HEIC: the page names its suffixes, and no other than are read."""
    (accepted,) = re.findall(r'id="file" accept="([^"]*)"', client.get("/").text)
    kinds = accepted.split(",")
    assert "image/*" in kinds
    (heic,) = (entry for entry in FORMATS if entry.name == "HEIC")
    assert set(kinds) - {"image/*"} == set(heic.suffixes)


def test_scripts_come_without_their_documentation(client: TestClient) -> None:
    """Comments and indentation are left out; each line keeps its number."""
    served = client.get("/page/columns.js").text.splitlines()
    source = (FOLDER / "columns.js").read_text().splitlines()
    assert len(served) == len(source)
    left_out = [old for old, new in zip(source, served, strict=True) if old.strip() != new]
    assert len(left_out) > 20
    assert all(re.search(r"\s*(/\*\*|\*|// )", line) for line in left_out)


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        ("const SIDE = 28; // pixels", "const SIDE = 28;"),
        ("  let at = null; // of a picture\nrun();", "let at = null;\nrun();"),
        ("p { top: 0; } /* above the map */", "p { top: 0; }"),
        ('say("first; // second");', 'say("first; // second");'),
        ("say(`first; // ${second}`);", "say(`first; // ${second}`);"),
        ('get("https://host"); // a "quoted" word', 'get("https://host"); // a "quoted" word'),
    ],
)
def test_only_comments_are_left_out(source: str, sent: str) -> None:
    """What looks like a comment inside a text stays."""
    assert without_comments(source.encode()).decode() == sent


def test_scripts_hold_no_text_of_several_lines() -> None:
    """Such a text would lose its indentation."""
    for path in FOLDER.glob("*.js"):
        texts = re.findall(r"`[^`]*`", path.read_text())
        assert not [text for text in texts if "\n" in text], path.name


def test_docs_run_one_inline_script(client: TestClient) -> None:
    """`/docs` may load files of this service only, and its policy has the hash of one script."""
    answer = client.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    (scripts,) = re.findall(r"script-src ([^;]*);", policy)
    assert re.fullmatch(r"'self' 'sha256-[A-Za-z0-9+/=]{44}'", scripts)


def test_addresses_are_relative(client: TestClient) -> None:
    """Every address in the HTML is relative and leads to a file."""
    addresses = re.findall(r'(?:href|src)="([^"#]+)"', client.get("/").text)
    assert addresses
    for address in addresses:
        if address.startswith("data:image/svg+xml,"):
            continue  # the icon
        assert not re.match(r"/|[a-z]+:", address)
        assert client.get(f"/{address}").status_code == 200, address


@pytest.mark.parametrize(
    ("name", "kind"),
    [("main.js", "text/javascript; charset=utf-8"), ("page.css", "text/css; charset=utf-8")],
)
def test_files_are_compressed_and_revalidated(client: TestClient, name: str, kind: str) -> None:
    """A file is sent with gzip if the client accepts it, and as 304 if the client has it."""
    content = (FOLDER / name).read_bytes()
    content = without_comments(content)
    plain = client.get(f"/page/{name}", headers={"accept-encoding": "gzip;q=0, identity"})
    assert (plain.content, plain.headers["content-type"]) == (content, kind)
    assert "content-encoding" not in plain.headers
    with client.stream("GET", f"/page/{name}", headers={"accept-encoding": "gzip"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(b"".join(packed.iter_raw())) == content
    again = client.get(f"/page/{name}", headers={"if-none-match": packed.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("{etag}", 304),
        ("{strong}", 304),
        ('"other", {etag}', 304),
        ('"a,b" , {strong}', 304),
        ("*", 304),
        ('"other"', 200),
        ("{opaque}", 200),
        ('"{opaque}x"', 200),
        ("", 200),
    ],
)
def test_entity_tags_are_compared_weakly(client: TestClient, header: str, status: int) -> None:
    """A tag matches with or without the mark of a weak one, and `*` matches every tag."""
    etag = client.get("/page/main.js").headers["etag"]
    strong = etag.removeprefix("W/")
    header = header.format(etag=etag, strong=strong, opaque=strong.strip('"'))
    answer = client.get("/page/main.js", headers={"If-None-Match": header})
    assert answer.status_code == status


def test_samples_are_served_and_unknown_files_give_404(client: TestClient) -> None:
    """The sample digits are files of the page; the 404 of another name lists the files."""
    assert client.get("/page/samples/3.png").content == sample_png(3)
    missing = client.get("/page/nosuch.js")
    assert missing.status_code == 404
    assert "main.js" in missing.json()["valid"]
    assert client.get("/page/../main.py").status_code == 404
