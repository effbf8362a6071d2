"""`/` and `/page/...`: the page that draws, and its files; `/docs`. They use public routes only."""

import base64
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response

from app.errors import NotFoundError
from app.samples import sample_png
from app.web.responses.static_files import make_asset, read_assets, serve

FOLDER = Path(__file__).parents[1] / "page"
DOCS_FILES = "/static-offline-docs"  # where fastapi-offline puts Swagger UI


def _policy(*more: str, scripts: Iterable[str] = (), style: str = "") -> str:
    """Return a policy: files of the service alone; blob: and data: are pictures a page makes."""
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
            *more,
        )
    )


HEADERS = {"Content-Security-Policy": _policy("require-trusted-types-for 'script'")}


def page_router(folder: Path = FOLDER) -> APIRouter:
    """Make the routes of the page, its files read now.

    Args:
        folder: `index.html` and what it refers to as `page/...`.
    """
    assets = read_assets(folder)
    assets |= {f"samples/{digit}.png": make_asset(sample_png(digit), ".png") for digit in range(10)}
    router = APIRouter()

    async def home(request: Request) -> Response:
        return serve(request, assets["index.html"], HEADERS)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in assets:
            raise NotFoundError(f"The page has no file {name!r}.", valid=sorted(assets))
        return serve(request, assets[name], HEADERS)

    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        response = get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title="digitscope - Swagger UI",
            swagger_js_url=f"{root}{DOCS_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{DOCS_FILES}/swagger-ui.css",
            swagger_favicon_url=f"{root}{DOCS_FILES}/favicon.png",
        )
        # Swagger UI styles its elements; of scripts it has one that starts it.
        inline = re.findall(rb"<script>(.*?)</script>", bytes(response.body), re.DOTALL)
        scripts = [
            f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
            for script in inline
        ]
        response.headers["Content-Security-Policy"] = _policy(
            scripts=scripts, style=" 'unsafe-inline'"
        )
        return response

    router.add_route("/docs", docs, include_in_schema=False)
    router.add_route("/", home, include_in_schema=False)
    router.add_route("/page/{name:path}", file, include_in_schema=False)
    return router
