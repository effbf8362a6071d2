"""Static files, read once and kept in memory: compressed, with an ETag, revalidated by browsers.

A browser asks for each file again with its ETag and gets 304: the files of one page never mix
versions, and behind them nothing has to be emptied when the service is replaced.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_PACKED = (".css", ".html", ".js", ".svg")  # others are compressed already


@dataclass(frozen=True)
class Asset:
    """One file.

    Attributes:
        content: Its bytes.
        packed: The same compressed by gzip, or None where that gains nothing.
        media_type: For `Content-Type`.
        etag: Changes when the content does.
    """

    content: bytes
    packed: bytes | None
    media_type: str
    etag: str


def make_asset(content: bytes, suffix: str) -> Asset:
    """Make an asset of a file's content.

    Args:
        content: The bytes.
        suffix: Such as `.js`; one of `TYPES`.
    """
    packed = gzip.compress(content, 9, mtime=0) if suffix in _PACKED else None
    # Weak, because the compressed form has the same.
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:24]}"'
    return Asset(content, packed, TYPES[suffix], etag)


def read_assets(folder: Path) -> dict[str, Asset]:
    """Read every file of a known type in a folder and its subfolders, by relative path."""
    return {
        path.relative_to(folder).as_posix(): make_asset(path.read_bytes(), path.suffix)
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES
    }


def serve(request: Request, asset: Asset, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with an asset, or with 304 where the client has it already."""
    common = {
        "ETag": asset.etag,
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
        **(headers or {}),
    }
    known = request.headers.get("if-none-match", "")
    if asset.etag in (tag.strip() for tag in known.split(",")):
        return Response(status_code=304, headers=common)
    if asset.packed and _takes_gzip(request):
        common["Content-Encoding"] = "gzip"
        return Response(asset.packed, headers=common, media_type=asset.media_type)
    return Response(asset.content, headers=common, media_type=asset.media_type)


def _takes_gzip(request: Request) -> bool:
    for entry in request.headers.get("accept-encoding", "").split(","):
        coding, _, parameters = entry.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return parameters.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
