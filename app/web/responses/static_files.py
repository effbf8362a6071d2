"""Serves static files from memory, with gzip and ETags.

Browsers revalidate every file with its ETag and get 304 if it has not changed. So the files of one
page always belong together, and a new version of the service needs no cache to be cleared.
"""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from app.web.quality_values import choose_coding

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_OPAQUE_TAG = re.compile(r'(?:W/)?("[^"]*")')  # of an entity tag, without its mark for weakness
_GZIPPED_SUFFIXES = (".css", ".html", ".js", ".json", ".svg")  # PNG is compressed already


@dataclass(frozen=True)
class Asset:
    """One static file.

    Attributes:
        content: The file's bytes.
        gzipped: The same bytes compressed with gzip, or None if that does not help.
        media_type: Value of `Content-Type`.
        etag: Value of `ETag`; changes with the content.
    """

    content: bytes
    gzipped: bytes | None
    media_type: str
    etag: str


def make_asset(content: bytes, suffix: str) -> Asset:
    """Return an asset for a file's content.

    Args:
        content: The file's bytes.
        suffix: The file's suffix, a key of `TYPES` such as `.js`.
    """
    gzipped = gzip.compress(content, 9, mtime=0) if suffix in _GZIPPED_SUFFIXES else None
    # A weak ETag, because the plain and the compressed file share it.
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:24]}"'
    return Asset(content, gzipped, TYPES[suffix], etag)


def read_assets(folder: Path) -> dict[str, Asset]:
    """Read every file of a known type below a folder; return them by relative path."""
    return {
        path.relative_to(folder).as_posix(): make_asset(path.read_bytes(), path.suffix)
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES
    }


def serve(request: Request, asset: Asset, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response for an asset: 304 if the client has it already, else 200."""
    common = {
        "ETag": asset.etag,
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
        **(headers or {}),
    }
    if _has_etag(request.headers.get("if-none-match", ""), asset.etag):
        return Response(status_code=304, headers=common)
    if asset.gzipped and choose_coding(request.headers.get("accept-encoding", "")) == "gzip":
        common["Content-Encoding"] = "gzip"
        return Response(asset.gzipped, headers=common, media_type=asset.media_type)
    return Response(asset.content, headers=common, media_type=asset.media_type)


def _has_etag(if_none_match: str, etag: str) -> bool:
    """Return whether If-None-Match names an entity tag, by the weak comparison of RFC 9110."""
    if if_none_match.strip() == "*":
        return True
    return etag.removeprefix("W/") in _OPAQUE_TAG.findall(if_none_match)
