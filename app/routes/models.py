"""`GET /models` and `POST /models/{model}/reload`: list, describe and reload the models."""

from fastapi import APIRouter, Request

from app.web.dependencies import ServiceDep
from app.web.responses.models import model_details, model_summary
from app.web.responses.openapi_errors import error_responses
from app.web.responses.openapi_requests import ADMIN_SECURITY
from app.web.schemas.models import IgnoredFile, ModelDetails, ModelList, ModelSummary

router = APIRouter(tags=["Models"])


@router.get("/models", operation_id="list_models", summary="List the models")
async def list_models(service: ServiceDep) -> ModelList:
    """Return every model with its state, version, size and error rate.

    A broken bundle is listed with the state `failed` and the reason. What lies in the folder and
    is no bundle is listed in `ignored`, with what to do.
    """
    registry = service.registry
    return ModelList(
        default=registry.default,
        corrections=service.corrections is not None,
        models=[
            model_summary(entry, default=name == registry.default)
            for name, entry in registry.entries.items()
        ],
        ignored=[
            IgnoredFile(name=name, reason=reason) for name, reason in registry.ignored.items()
        ],
    )


@router.get(
    "/models/{model}",
    operation_id="describe_model",
    summary="Describe a model",
    responses=error_responses("unknown-model", "not-ready"),
)
async def describe_model(model: str, service: ServiceDep) -> ModelDetails:
    """Return everything known about a model: data, recipe, training, evaluation and file hashes.

    A model whose bundle could not be read gives 503 with the reason.
    """
    registry = service.registry
    bundle = registry.find_bundle(model)
    return model_details(registry.find_entry(model), bundle, default=model == registry.default)


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
    route answers 404. A damaged bundle gives 409 and the old model stays. Without this request, and
    in other worker processes, changed files take effect within 5 seconds.
    """
    service.admin.check(request.headers)
    registry = service.registry
    await service.reload(model)
    return model_summary(registry.find_entry(model), default=model == registry.default)
