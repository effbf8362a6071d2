"""Fast routes respond as FastAPI's own routes do."""

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, Field

from app.errors import InvalidInputError
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
