"""`/` and `/page/...`: the page that draws, and its files. It uses the public routes only."""

from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.errors import NotFoundError
from app.samples import sample_png
from app.web.assets import make_asset, read_assets, serve

FOLDER = Path(__file__).parents[1] / "page"
# Only files of the service itself; blob: and data: are pictures that the page makes.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {"Content-Security-Policy": POLICY}


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

    router.add_route("/", home, include_in_schema=False)
    router.add_route("/page/{name:path}", file, include_in_schema=False)
    return router
