"""The OpenAPI document's part of one model: its own paths, typed by what it takes and gives."""

from rondo_core.input_schema import ImageInput
from rondo_inference.contracts.model_schemas import (
    Schema,
    example_schema,
    instance_schema,
    labelled_schema,
    prediction_schema,
    tensor_schema,
)
from rondo_inference.contracts.openapi_jobs import job_paths
from rondo_inference.contracts.openapi_parts import (
    ANYTHING,
    TEXT,
    get,
    listed,
    predict,
    reference,
    tag,
    told,
)
from rondo_inference.contracts.warnings import PARAMETER
from rondo_inference.registry.served import ServedModel

__all__ = ["model_paths", "model_schemas", "takes_pictures"]


def takes_pictures(served: ServedModel) -> bool:
    """Say whether a model takes pictures."""
    return served.spec is not None and isinstance(served.spec.input, ImageInput)


def model_paths(served: ServedModel, *, jobs: bool) -> Schema:
    """Return a model's paths.

    Args:
        served: one version of it.
        jobs: whether there are batch jobs.
    """
    name, pictures = served.name, takes_pictures(served)
    tensors = listed(ANYTHING)
    answered = {kind: reference(f"{name}.{kind}") for kind in ("Predictions", "Inferred")}
    # Rows that came as a file are answered alike by all routes.
    inferred = {"anyOf": [answered["Inferred"], answered["Predictions"]]}
    paths: Schema = {
        f"/v1/models/{name}": {
            "get": get(f"status of the versions of {name}", model_version_status=tensors)
        },
        f"/v1/models/{name}/metadata": {
            "get": get(f"TF Serving's metadata of {name}", model_spec=ANYTHING, metadata=ANYTHING)
        },
        f"/v1/models/{name}:predict": {
            "post": predict(
                f"predictions of {name}",
                reference(f"{name}.Predict"),
                answered["Predictions"],
                pictures=pictures,
            )
        },
        f"/v2/models/{name}": {
            "get": get(f"inputs and outputs of {name}", inputs=tensors, outputs=tensors)
        },
        f"/v2/models/{name}/ready": {
            "get": get(f"whether {name} is loaded", ready={"type": "boolean"})
        },
        f"/v2/models/{name}/stats": {"get": get(f"statistics of {name}", model_stats=tensors)},
        f"/v2/models/{name}/infer": {
            "post": predict(
                f"Open Inference Protocol of {name}",
                reference(f"{name}.Infer"),
                inferred,
                pictures=pictures,
            )
        },
    }
    return tag(paths | (job_paths(name, pictures=pictures) if jobs else {}), name)


def model_schemas(served: ServedModel) -> Schema:
    """Return what a model's bodies are, by name: NAME.Instance and so on."""
    name = served.name
    schemas = {
        "Instance": instance_schema(served),
        "Example": example_schema(served),
        "Prediction": prediction_schema(served),
        "Labelled": labelled_schema(served),
        "Predict": _predict(name),
        "Predictions": _predictions(name),
        "Infer": _infer(served),
        "Inferred": _inferred(served),
    }
    return {f"{name}.{kind}": schema for kind, schema in schemas.items()}


def _predict(name: str) -> Schema:
    return {
        "type": "object",
        "required": ["instances"],
        "properties": {
            "signature_name": {"const": "serving_default"},
            "instances": listed(reference(f"{name}.Instance")) | {"minItems": 1},
        },
        "not": {"required": ["inputs"]},
    }


def _predictions(name: str) -> Schema:
    """Rows are answered by rows, and columns, which the document only mentions, by columns."""
    kinds = {"anyOf": [reference(f"{name}.{kind}") for kind in ("Prediction", "Labelled")]}
    columns = {"type": ["array", "object"], "description": 'to who sends "inputs" by column'}
    return {"anyOf": [told(predictions=listed(kinds)), told(outputs=columns)]}


def _infer(served: ServedModel) -> Schema:
    sent = [tensor_schema(info, sent=True) for info in served.signature.inputs]
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": TEXT,
            "inputs": listed({"anyOf": sent}) | {"minItems": len(sent), "maxItems": len(sent)},
        },
    }


def _inferred(served: ServedModel) -> Schema:
    given = [tensor_schema(info, sent=False) for info in served.signature.outputs]
    return {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"const": served.name},
            "model_version": TEXT,
            "parameters": {"type": "object", "properties": {PARAMETER: TEXT}},
            "outputs": listed({"anyOf": given}),
        },
    }
