"""Imports pydantic and FastAPI without what the service does not need: a tenth of its start."""

import os
import sys


def disable_pydantic_plugins() -> None:
    """Keep pydantic from reading the metadata of all installed packages to look for its plugins."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def import_fastapi() -> None:
    """Import FastAPI, before anything else does.

    Its models of OpenAPI documents get their validators when a document is made. It finds no
    pydantic of version 1, whose models it would look for in each route.
    """
    from pydantic import BaseModel, ConfigDict

    sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]
    config = BaseModel.model_config
    BaseModel.model_config = ConfigDict(defer_build=True)
    try:
        import fastapi.openapi.models  # noqa: F401
    finally:
        BaseModel.model_config = config
