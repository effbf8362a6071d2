"""`GET /models`: what is served, where it comes from and how good it is."""

from fastapi import APIRouter, Request

from app.web.dependencies import ServiceDep
from app.web.responses.openapi_errors import error_responses
from app.web.responses.openapi_requests import ADMIN_SECURITY
from app.web.responses.predictions import model_details, model_summary
from app.web.schemas.predictions import ModelDetails, ModelList, ModelSummary

router = APIRouter(tags=["Models"])


@router.get("/models", operation_id="list_models", summary="List the models")
async def list_models(service: ServiceDep) -> ModelList:
    """List every model with its version and its error."""
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
    """Give all that is known of a model: data, recipe, training figures, evaluation, hashes."""
    return model_details(
        service.registry.find_bundle(model), default=model == service.registry.default
    )


@router.post(
    "/models/{model}/reload",
    operation_id="reload_model",
    summary="Load a model's bundle anew",
    responses=error_responses("unknown-model", "key", "damaged-bundle", "busy", "late"),
    openapi_extra=ADMIN_SECURITY,
)
async def reload_model(request: Request, model: str, service: ServiceDep) -> ModelSummary:
    """Verify, load and warm the bundle that lies in the folder now, and serve it from then on.

    Needs the admin token, as `Authorization: Bearer TOKEN`; without the setting there is no such
    route. A damaged bundle is refused and the old one stays. Other worker processes follow within a
    second.
    """
    service.admin.check(request)
    registry = service.registry
    found = await service.reload_pool.run(registry.reload, model)
    return model_summary(found.bundle, default=model == registry.default)
