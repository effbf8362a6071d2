"""`/`, `/page/...` and `/docs`: the web page and Swagger UI, which use public routes only."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response

from app.errors import NotFoundError
from app.samples import sample_png, sample_sheet_png
from app.web.responses.static_files import Asset, make_asset, read_assets, serve

FOLDER = Path(__file__).parents[1] / "page"
MAX_PREFIXES = 16  # path prefixes for which the page is kept
_OWN_ADDRESS = re.compile(rb'((?:href|src)=")(?=page/|docs")')
_DOCUMENTATION = re.compile(rb"^[ \t]*(?:/\*.*?\*/[ \t]*|//[^\n]*)$", re.DOTALL | re.MULTILINE)
_REMARK = re.compile(rb"(?<=[;,{(\[}\d]) +(?:// [^\n\"'`]*|/\*[^\n]*\*/)$", re.MULTILINE)
_INDENTATION = re.compile(rb"^[ \t]+", re.MULTILINE)
COMMENTED = (".js", ".css")  # files that are sent without comments and indentation
DOCS_FILES = "static-offline-docs"  # folder of Swagger UI's files
SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")


def _content_security_policy(*extra: str, scripts: Iterable[str] = (), style: str = "") -> str:
    """Return a policy that allows files of this service only.

    Images may also be `blob:` and `data:` URLs, which the page makes itself.

    Args:
        extra: Further directives.
        scripts: Further script sources, such as hashes of inline scripts.
        style: Further style sources, with a space in front.
    """
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *scripts)),
            f"style-src 'self'{style}",
            "img-src 'self' blob: data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            *extra,
        )
    )


HEADERS = {
    "Content-Security-Policy": _content_security_policy("require-trusted-types-for 'script'")
}


def without_comments(source: bytes) -> bytes:
    """Return a script or style sheet without comments and indentation.

    Lines stay numbered. Comments are a fifth of what the first view of the page transfers,
    indentation is a hundredth. No text of a script may go over several lines. A comment at the end
    of a line stays if it holds a quotation mark, because it could be part of a text.
    """
    code = _DOCUMENTATION.sub(lambda found: b"\n" * found.group().count(b"\n"), source)
    code = _REMARK.sub(b"", code)
    return _INDENTATION.sub(b"", code)


def page_router(folder: Path = FOLDER) -> APIRouter:
    """Return the routes of the page and of `/docs`; read the page's files now.

    Args:
        folder: Folder with `index.html` and the files that it refers to as `page/...`.
    """
    assets = {
        name: make_asset(without_comments(asset.content), Path(name).suffix)
        if name.endswith(COMMENTED)
        else asset
        for name, asset in read_assets(folder).items()
    }
    assets |= {f"samples/{digit}.png": make_asset(sample_png(digit), ".png") for digit in range(10)}
    assets["samples.png"] = make_asset(sample_sheet_png(), ".png")
    router = APIRouter()

    @lru_cache(maxsize=MAX_PREFIXES)
    def home_below(prefix: str) -> Asset:
        """Return the page with addresses that also hold where the path has no last slash."""
        content = assets["index.html"].content
        return make_asset(_OWN_ADDRESS.sub(rb"\1%b/" % prefix.encode(), content), ".html")

    async def home(request: Request) -> Response:
        prefix = request.scope.get("root_path", "")
        return serve(request, home_below(prefix) if prefix else assets["index.html"], HEADERS)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in assets:
            raise NotFoundError(f"The page has no file {name!r}.", valid=sorted(assets))
        return serve(request, assets[name], HEADERS)

    router.add_route("/docs", _swagger_ui, include_in_schema=False)
    router.add_route("/docs/", _swagger_ui, include_in_schema=False)
    router.add_route(f"/{DOCS_FILES}/{{name:path}}", _swagger_file, include_in_schema=False)
    router.add_route("/", home, include_in_schema=False)
    router.add_route("/page/{name:path}", file, include_in_schema=False)
    return router


async def _swagger_file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in SWAGGER_FILES:
        raise NotFoundError(f"Swagger UI has no file {name!r}.", valid=list(SWAGGER_FILES))
    # In a thread: to compress the script takes 0.1 s, once.
    return serve(request, await asyncio.to_thread(_swagger_asset, name))


@lru_cache(maxsize=len(SWAGGER_FILES))
def _swagger_asset(name: str) -> Asset:
    content = (files(fastapi_offline) / "static" / name).read_bytes()
    return make_asset(content, Path(name).suffix)


async def _swagger_ui(request: Request) -> Response:
    # Relative, so that they hold behind a proxy that nobody has told the service about.
    root = ".." if request.scope["path"].endswith("/") else "."
    response = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="digitscope - Swagger UI",
        swagger_js_url=f"{root}/{DOCS_FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/{DOCS_FILES}/swagger-ui.css",
        swagger_favicon_url=f"{root}/{DOCS_FILES}/favicon.png",
    )
    # Swagger UI sets styles on its elements, and one inline script starts it.
    inline_scripts = re.findall(rb"<script>(.*?)</script>", bytes(response.body), re.DOTALL)
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in inline_scripts
    ]
    response.headers["Content-Security-Policy"] = _content_security_policy(
        scripts=hashes, style=" 'unsafe-inline'"
    )
    return response
