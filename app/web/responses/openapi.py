"""Publishes the OpenAPI document.

Completes what FastAPI generates: schemas of the bodies that routes read by hand, errors that the
middleware adds, one schema for each set of choices, keys, and examples.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any, get_args

import pydantic_core
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response

from app.bundle import Bundle, RuntimeKind
from app.errors import NotReadyError
from app.imaging.polarity import Polarity
from app.inference.entries import ModelState
from app.inference.model import Model
from app.inference.registry import Registry
from app.inspection.activations import Scale
from app.inspection.attribution import METHODS
from app.inspection.descent import Optimizer
from app.recognise import Preprocess
from app.verdict import Verdict
from app.web.http.auth import OPEN_PATHS, Access
from app.web.http.problem_details import PROTOCOLS
from app.web.requests.json_images import ImageJson
from app.web.responses.content_negotiation import PictureFormat
from app.web.responses.openapi_errors import middleware_error_responses, protocol_error_responses
from app.web.responses.openapi_examples import add_examples
from app.web.responses.openapi_requests import (
    ADMIN_SCHEME,
    FORM_SCHEMAS,
    SCHEMAS_PATH,
    schema_ref,
)
from app.web.responses.static_files import Asset, make_asset, serve
from app.web.schemas.inspection import MapHead
from app.web.schemas.learning import LearningMapHead
from app.web.schemas.models import Precision
from app.web.schemas.problem import Problem
from app.web.schemas.protocols import (
    IndexRequest,
    InferenceRequest,
    LoadRequest,
    PredictRequest,
    ProtocolError,
)

PATH = "/openapi.json"
MAX_PREFIXES = 16  # path prefixes for which the document is kept
LICENSE = {"name": "MIT", "identifier": "MIT"}
CONTACT = {"name": "digitscope"}
# Each of these `Literal` types becomes one named schema, so that generated clients have one type.
_CHOICE_SCHEMAS: Mapping[tuple[str, ...], str] = {
    get_args(Polarity): "Polarity",
    get_args(Preprocess): "Preprocess",
    get_args(Verdict): "Verdict",
    get_args(Scale): "Scale",
    tuple(METHODS): "ExplanationMethod",
    get_args(PictureFormat): "PictureFormat",
    get_args(Optimizer): "Optimizer",
    get_args(Precision): "Precision",
    get_args(ModelState): "ModelState",
    get_args(RuntimeKind): "RuntimeKind",
}
# FastAPI cannot see these: routes read them by hand, or the middleware answers with them.
_HIDDEN_MODELS = (
    ImageJson,
    LearningMapHead,
    MapHead,
    Problem,
    ProtocolError,
    IndexRequest,
    InferenceRequest,
    LoadRequest,
    PredictRequest,
)


# Names of the security schemes for an API key; either header is enough.
_KEY_SCHEMES: Mapping[str, dict[str, Any]] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "BearerKey": {"type": "http", "scheme": "bearer", "description": "An API key."},
}


def install(app: FastAPI, access: Access, registry: Callable[[], Registry | None]) -> None:
    """Make an app publish its document.

    Args:
        app: The application.
        access: Knows which routes need an API key.
        registry: Returns the models, or None before they are opened.
    """
    document = _Document(app, access, registry)
    app.openapi = document  # type: ignore[method-assign]
    app.router.add_route(PATH, document.serve, include_in_schema=False)


class _Document:
    """The OpenAPI document, with examples for the default model as soon as this is ready."""

    def __init__(
        self, app: FastAPI, access: Access, registry: Callable[[], Registry | None]
    ) -> None:
        self._app, self._access, self._registry = app, access, registry
        self._bundle: Bundle | None = None  # that of the default model, when the document was made
        self._made: dict[str, Any] | None = None
        self._assets: dict[str, Asset] = {}  # the document as a file, by path prefix
        self._making = threading.Lock()  # held while it is made, and FastAPI's models with it

    def __call__(self) -> dict[str, Any]:
        """Return the document; make it again if the default model has changed."""
        with self._making:
            return self._current()

    def _current(self) -> dict[str, Any]:
        model = _default_model(self._registry())
        bundle = model.bundle if model else None
        if self._made is None or self._bundle is not bundle:
            made = self._make()
            if model:
                add_examples(made, model)
            self._bundle, self._made = bundle, made
            self._assets.clear()
        return self._made

    async def serve(self, request: Request) -> Response:
        """Return the document; its server is the path prefix of the request."""
        root = request.scope.get("root_path", "")
        return serve(request, await asyncio.to_thread(self._asset, root))

    def _asset(self, root: str) -> Asset:
        made = self()
        if root not in self._assets:
            if len(self._assets) >= MAX_PREFIXES:
                self._assets.clear()
            content = pydantic_core.to_json({**made, "servers": [{"url": root or "/"}]})
            self._assets[root] = make_asset(content, ".json")
        return self._assets[root]

    def _make(self) -> dict[str, Any]:
        app = self._app
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
            servers=[{"url": "/"}],
            license_info=LICENSE,
            contact=CONTACT,
        )
        _add_schemas(made["components"])
        _drop_framework_errors(made)
        _add_middleware_errors(made)
        _name_choices(made)
        _complete_tuples(made)
        _add_security(made, self._access)
        return made


def _default_model(registry: Registry | None) -> Model | None:
    try:
        return registry.get(None) if registry else None
    except NotReadyError:
        return None


def _add_schemas(components: dict[str, Any]) -> None:
    schemas = components["schemas"]
    schemas |= FORM_SCHEMAS
    for model in _HIDDEN_MODELS:
        schema = model.model_json_schema(ref_template=f"{SCHEMAS_PATH}{{model}}")
        named = {schema["title"]: schema, **schema.pop("$defs", {})}
        for each in named.values():
            _drop_null_defaults(each)
        schemas |= named


def _add_security(made: dict[str, Any], access: Access) -> None:
    """Declare the keys: Swagger UI then offers *Authorize*, and sends the key with each request."""
    schemes = made["components"]["securitySchemes"] = {
        ADMIN_SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "description": "The value of the setting DIGITSCOPE_ADMIN_TOKEN.",
        }
    }
    made["security"] = []
    if not access.has_keys:
        return
    schemes |= _KEY_SCHEMES
    made["security"] = [{name: []} for name in _KEY_SCHEMES]
    for path, operations in made["paths"].items():
        for operation in operations.values():
            if not access.needs_key(path):
                operation["security"] = []


def _drop_null_defaults(schema: dict[str, Any]) -> None:
    """Remove defaults of null: client generators take a member with a default as always present."""
    for member in schema["properties"].values():
        if "default" in member and member["default"] is None:
            del member["default"]


def _drop_framework_errors(made: dict[str, Any]) -> None:
    """Remove the 422 that FastAPI adds to routes with parameters; ours has another form."""
    for name in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(name, None)
    for operations in made["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422", "")):
                del operation["responses"]["422"]


def _add_middleware_errors(made: dict[str, Any]) -> None:
    """Add to every route the errors of keys, rate limits and deadlines."""
    for path, operations in made["paths"].items():
        responses = middleware_error_responses(is_probe=path in OPEN_PATHS)
        if PROTOCOLS.match(path):
            responses = protocol_error_responses(*(int(status) for status in responses))
        for operation in operations.values():
            for status, response in responses.items():
                operation["responses"].setdefault(str(status), response)


def _complete_tuples(made: dict[str, Any]) -> None:
    """Give the arrays of a fixed length `items`, which some tools demand of every array."""

    def visit(node: Any) -> None:
        if isinstance(node, dict) and "prefixItems" in node:
            node.setdefault("items", node["prefixItems"][0])
        for child in node.values() if isinstance(node, dict) else node:
            if isinstance(child, dict | list):
                visit(child)

    visit(made["components"]["schemas"])


def _name_choices(made: dict[str, Any]) -> None:
    """Replace every copy of a set of choices by a reference to its named schema."""

    def visit(node: Any) -> None:
        for child in node.values() if isinstance(node, dict) else node:
            if not isinstance(child, dict | list):
                continue
            if isinstance(child, dict):
                name = _CHOICE_SCHEMAS.get(tuple(child.get("enum", ())))
                if name:
                    for key in ("enum", "type", "title"):
                        child.pop(key, None)
                    child |= schema_ref(name)
            visit(child)

    visit(made)
    for choices, name in _CHOICE_SCHEMAS.items():
        made["components"]["schemas"][name] = {"type": "string", "enum": list(choices)}
