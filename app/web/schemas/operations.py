"""Response bodies of the routes for operators."""

from pydantic import Field

from app.web.schemas.base import ResponseBody


class Version(ResponseBody):
    """Versions of the running software."""

    version: str = Field(description="Version of digitscope.")
    python: str
    libraries: dict[str, str]


class Health(ResponseBody):
    """The result of a probe."""

    status: str = Field(description="`alive` or `ready`.")
