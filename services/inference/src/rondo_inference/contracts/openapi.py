"""The OpenAPI document of what is served now, typed per model."""

from importlib.metadata import version as installed

from rondo_core.input_schema import ImageInput
from rondo_inference.contracts.messages import (
    CSV,
    JSON,
    Answer,
    Request,
    Route,
    json_answer,
    route_pattern,
)
from rondo_inference.contracts.model_schemas import (
    Schema,
    instance_schema,
    labelled_schema,
    prediction_schema,
    tensor_schema,
)
from rondo_inference.contracts.openapi_jobs import job_paths, job_schemas
from rondo_inference.contracts.openapi_parts import (
    ERROR,
    body_of,
    found,
    operation,
    plain,
    reference,
)
from rondo_inference.contracts.pictures import PICTURES
from rondo_inference.contracts.warnings import PARAMETER
from rondo_inference.contracts.writers import LINES, NPY, NPZ
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel

__all__ = ["document", "openapi", "routes"]

_ROWS = (CSV, LINES, NPY, NPZ)
_FORM = "multipart/form-data"
_OBJECT: Schema = {"type": "object"}
_TEXT: Schema = {"type": "string"}


def routes(catalogue: Catalogue, *, jobs: bool) -> tuple[Route, ...]:
    """Return the routes.

    Args:
        catalogue: what is served.
        jobs: whether there are batch jobs.
    """

    def answer(request: Request) -> Answer:
        return json_answer(document(catalogue, request, jobs=jobs))

    path = route_pattern("/openapi.json")
    return (Route("openapi", "GET", path, answer, browser=True, about_server=True),)


def document(catalogue: Catalogue, request: Request, *, jobs: bool) -> Schema:
    """Return the document of the models that are loaded and that the caller may ask."""
    loaded = {slot.served.name: slot.served for slot in catalogue.slots() if slot.served}
    models = [served for name, served in sorted(loaded.items()) if request.may_ask(name)]
    return openapi(models, jobs=jobs)


def openapi(models: list[ServedModel], *, jobs: bool) -> Schema:
    """Return the document: OpenAPI 3.1.

    Args:
        models: one version of each model that is loaded.
        jobs: whether there are batch jobs.
    """
    paths: Schema = {
        "/ping": {
            "get": {
                "summary": "SageMaker's health check",
                "responses": plain("healthy", 200) | plain("not healthy", 503),
            }
        },
        "/v2": {"get": _get("the server", name=_TEXT, version=_TEXT, extensions=_list(_TEXT))},
        "/v2/health/live": {"get": _get("whether the process lives", live={"type": "boolean"})},
        "/v2/health/ready": {
            "get": _get("whether every model is loaded", ready={"type": "boolean"})
        },
        "/catalogue": {"get": _get("all models with their schemas", models=_list(_OBJECT))},
        "/execution-parameters": {
            "get": _get("SageMaker's batch parameters", MaxPayloadInMB={"type": "integer"})
        },
    }
    schemas: Schema = {"Error": ERROR}
    if jobs:
        schemas |= job_schemas()
    for served in models:
        paths |= _paths(served, jobs=jobs)
        schemas |= _schemas(served)
    if len(models) == 1:
        paths["/invocations"] = {"post": _predict(models[0])}
    _tag(paths, "the server")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rondo inference", "version": installed("rondo-inference")},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _paths(served: ServedModel, *, jobs: bool) -> Schema:
    name = served.name
    tensors = _list(_OBJECT)
    found_paths: Schema = {
        f"/v1/models/{name}": {
            "get": _get(f"status of the versions of {name}", model_version_status=_list(_OBJECT))
        },
        f"/v1/models/{name}/metadata": {
            "get": _get(f"TF Serving's metadata of {name}", model_spec=_OBJECT, metadata=_OBJECT)
        },
        f"/v1/models/{name}:predict": {"post": _predict(served)},
        f"/v2/models/{name}": {
            "get": _get(f"inputs and outputs of {name}", inputs=tensors, outputs=tensors)
        },
        f"/v2/models/{name}/ready": {
            "get": _get(f"whether {name} is loaded", ready={"type": "boolean"})
        },
        f"/v2/models/{name}/stats": {
            "get": _get(f"statistics of {name}", model_stats=_list(_OBJECT))
        },
        f"/v2/models/{name}/infer": {"post": _infer(served)},
    }
    found_paths |= job_paths(name, pictures=_takes_pictures(served)) if jobs else {}
    _tag(found_paths, name)
    return found_paths


def _tag(paths: Schema, tag: str) -> None:
    """Say what operations are about that do not say so yet."""
    for methods in paths.values():
        for found_operation in methods.values():
            found_operation.setdefault("tags", [tag])


def _schemas(served: ServedModel) -> Schema:
    return {
        f"{served.name}.Instance": instance_schema(served),
        f"{served.name}.Prediction": prediction_schema(served),
        f"{served.name}.Labelled": labelled_schema(served),
    }


def _takes_pictures(served: ServedModel) -> bool:
    return served.spec is not None and isinstance(served.spec.input, ImageInput)


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _get(summary: str, **properties: Schema) -> Schema:
    return operation(
        summary, found(_OBJECT | {"required": list(properties), "properties": properties})
    )


def _predict(served: ServedModel) -> Schema:
    instances = _list(reference(f"{served.name}.Instance")) | {"minItems": 1}
    body = {
        "type": "object",
        "required": ["instances"],
        "properties": {"signature_name": {"const": "serving_default"}, "instances": instances},
        "not": {"required": ["inputs"]},
    }
    return _post(f"predictions of {served.name}", body, _predictions(served), served)


def _predictions(served: ServedModel) -> Schema:
    kinds = {"anyOf": [reference(f"{served.name}.{kind}") for kind in ("Prediction", "Labelled")]}
    return {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": _list(kinds)},
    }


def _infer(served: ServedModel) -> Schema:
    """Rows as a file are answered as by the other routes, tensors by the protocol's message."""
    sent = [tensor_schema(info, sent=True) for info in served.signature.inputs]
    given = [tensor_schema(info, sent=False) for info in served.signature.outputs]
    body = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": _TEXT,
            "inputs": _list({"anyOf": sent}) | {"minItems": len(sent), "maxItems": len(sent)},
        },
    }
    answer = {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"const": served.name},
            "model_version": _TEXT,
            "parameters": {"type": "object", "properties": {PARAMETER: _TEXT}},
            "outputs": _list({"anyOf": given}),
        },
    }
    either = {"anyOf": [answer, _predictions(served)]}
    return _post(f"Open Inference Protocol of {served.name}", body, either, served)


def _post(summary: str, body: Schema, answer: Schema, served: ServedModel) -> Schema:
    pictures = PICTURES if _takes_pictures(served) else ()
    files = {media: {"type": "string", "format": "binary"} for media in (*_ROWS, *pictures)}
    content = {JSON: body, **files, _FORM: {"type": "object"}}
    success = found(answer, "predicted")
    success["200"]["content"] |= {media: {} for media in _ROWS}
    return operation(summary, success, "406", "415", requestBody=body_of(content))
