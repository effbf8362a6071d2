"""Fast routes respond as FastAPI's own routes do."""

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, Field

from app.errors import InvalidInputError
from app.protocols.inference import VersionDep
from app.web.dependencies import ServiceDep
from app.web.http import problem_details
from app.web.http.fast_routes import Dispatcher, FastRoute, query_parser


class Query(BaseModel):
    """Two parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(1, ge=1)
    name: str | None = None


class Echo(BaseModel):
    """The parameters of the request."""

    size: int
    name: str | None


router = APIRouter(route_class=FastRoute)


@router.post("/echo", response_model=Echo)
async def echo(request: Request, query: Query, service: str) -> Response:
    """Return the parameters, or fail."""
    if query.name == "wrong":
        raise InvalidInputError("That is wrong.")
    if query.name == "broken":
        raise RuntimeError("a bug")
    return Response(Echo(size=query.size, name=query.name).model_dump_json())


@router.get("/service")
async def service_only(service: str) -> Response:
    """Take the service alone."""
    return Response(service)


@router.get("/constant")
async def constant() -> Response:
    """Take no parameter."""
    return Response("constant")


@pytest.fixture
def fast() -> TestClient:
    """An application of these fast routes."""
    inner = FastAPI()

    async def app(scope, receive, send) -> None:
        scope["state"] = {"request_id": "an-id", "service": "none"}
        await Dispatcher(inner, router.routes)(scope, receive, send)

    problem_details.install(inner)
    return TestClient(app, raise_server_exceptions=False)


def test_parameters_are_parsed_with_types_and_defaults(fast: TestClient) -> None:
    """The endpoint gets typed parameters, and its response is sent unchanged."""
    assert fast.post("/echo?size=3&name=%C3%A9").json() == {"size": 3, "name": "\u00e9"}
    assert fast.post("/echo").json() == {"size": 1, "name": None}
    assert fast.post("/echo?size=2&size=5").json()["size"] == 5
    assert fast.get("/echo").status_code == 404  # passed on to the inner application


def test_endpoint_gets_only_the_parameters_it_names(fast: TestClient) -> None:
    """An endpoint without `query` ignores the query string."""
    assert fast.get("/service?size=0").text == "none"
    assert fast.get("/constant").text == "constant"


models = APIRouter(prefix="/models", route_class=FastRoute)


@models.get("/{model}", response_model=None)
async def describe(model: str, service: ServiceDep) -> dict[str, str]:
    """Return no response object, so that FastAPI serves it."""
    return {"model": model}


@models.post("/{model}:other")
async def other(model: str) -> Response:
    """Take a parameter of the path, in front of the other routes that match."""
    return Response(f"other of {model}")


@models.post("/{model}:{method}")
async def refuse(model: str, method: str) -> Response:
    """Take a parameter that fast routes do not know, so that FastAPI serves it."""
    return Response(f"{model} has no {method}")


@models.post("/{model}/run")
@models.post("/{model}/versions/{version}/run")
async def run(request: Request, model: str, version: VersionDep) -> Response:
    """Take the parameters of the path that fast routes know."""
    return Response(f"{model}, {version}, {request.scope['route'].path}")


@pytest.fixture
def passed_on() -> list[str]:
    """The paths that were passed on to FastAPI."""
    return []


@pytest.fixture
def with_models(passed_on: list[str]) -> TestClient:
    """An application of the routes with parameters in their paths."""
    inner = FastAPI()
    inner.include_router(models)

    async def pass_on(scope, receive, send) -> None:
        passed_on.append(scope["path"])
        await inner(scope, receive, send)

    dispatcher = Dispatcher(pass_on, models.routes)

    async def app(scope, receive, send) -> None:
        await dispatcher({**scope, "state": {"service": "none"}}, receive, send)

    return TestClient(app)


def test_path_may_have_parameters(with_models: TestClient, passed_on: list[str]) -> None:
    """The endpoint gets the model, and None for a version that is not there, each time."""
    for _ in range(2):
        answer = with_models.post("/models/a%20b/run").text
        assert answer == "a b, None, /models/{model}/run"
        answer = with_models.post("/models/a/versions/3/run").text
        assert answer == "a, 3, /models/{model}/versions/{version}/run"
        assert with_models.post("/models/b:other").text == "other of b"
    assert passed_on == []


def test_first_route_that_matches_a_path_serves_it(
    with_models: TestClient, passed_on: list[str]
) -> None:
    """FastAPI serves a path whose first match is no fast route, and every long or unknown path."""
    long = "x" * 300
    assert with_models.post("/models/a:b").text == "a has no b"
    assert with_models.post(f"/models/{long}/run").text.startswith(f"{long}, None")
    assert with_models.get("/models/a").json() == {"model": "a"}
    assert with_models.post("/models/a/walk").status_code == 404
    assert with_models.get("/models/a/run").status_code == 405
    assert passed_on == [
        "/models/a:b",
        f"/models/{long}/run",
        "/models/a",
        "/models/a/walk",
        "/models/a/run",
    ]


def test_exceptions_become_problem_documents(fast: TestClient) -> None:
    """Invalid parameters, raised errors and bugs are answered with a problem document."""
    invalid = fast.post("/echo?size=0&more=1")
    assert invalid.status_code == 422
    assert {tuple(entry["loc"]) for entry in invalid.json()["errors"]} == {
        ("query", "size"),
        ("query", "more"),
    }
    assert fast.post("/echo?name=wrong").json()["detail"] == "That is wrong."
    broken = fast.post("/echo?name=broken")
    assert broken.status_code == 500
    assert "a bug" not in broken.text


def test_short_query_strings_are_cached() -> None:
    """The same short query string gives the same object; a long one is parsed each time."""
    parse = query_parser(Query)
    assert parse(b"size=4") is parse(b"size=4")
    long = b"name=" + b"x" * 300
    assert parse(long) == parse(long)
    assert parse(long) is not parse(long)
