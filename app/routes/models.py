"""`GET /models` and `POST /models/{model}/reload`: list, describe and reload the models."""

from fastapi import APIRouter, Request

from app.web.dependencies import ServiceDep
from app.web.responses.models import model_details, model_summary
from app.web.responses.openapi_errors import error_responses
from app.web.responses.openapi_requests import ADMIN_SECURITY
from app.web.schemas.models import ModelDetails, ModelList, ModelSummary

router = APIRouter(tags=["Models"])


@router.get("/models", operation_id="list_models", summary="List the models")
async def list_models(service: ServiceDep) -> ModelList:
    """Return every model with its version, size and error rate."""
    registry = service.registry
    return ModelList(
        default=registry.default,
        models=[
            model_summary(bundle, default=name == registry.default)
            for name, bundle in registry.bundles.items()
        ],
    )


@router.get(
    "/models/{model}",
    operation_id="describe_model",
    summary="Describe a model",
    responses=error_responses("unknown-model"),
)
async def describe_model(model: str, service: ServiceDep) -> ModelDetails:
    """Return everything known about a model: data, recipe, training, evaluation and file hashes."""
    registry = service.registry
    return model_details(registry.find_bundle(model), default=model == registry.default)


@router.post(
    "/models/{model}/reload",
    operation_id="reload_model",
    summary="Reload a model",
    responses=error_responses("unknown-model", "key", "damaged-bundle", "busy", "late"),
    openapi_extra=ADMIN_SECURITY,
)
async def reload_model(request: Request, model: str, service: ServiceDep) -> ModelSummary:
    """Read the model's bundle from disk and serve it from then on; return the model in short.

    Needs the admin token, as `Authorization: Bearer TOKEN`. If the service has no admin token, this
    route answers 404. A damaged bundle gives 409 and the old model stays. Other worker processes
    reload within a second.
    """
    service.admin.check(request)
    registry = service.registry
    fresh = await service.reload_pool.run(registry.reload, model)
    return model_summary(fresh.bundle, default=model == registry.default)
