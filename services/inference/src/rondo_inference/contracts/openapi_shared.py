"""The OpenAPI document's paths in which any model may be named: versions, labels, other contracts.

They are there once, not once a model; what their bodies are, the models' own schemas say.
"""

from rondo_inference.contracts.model_schemas import ANY_NUMBER, Schema
from rondo_inference.contracts.openapi_models import takes_pictures
from rondo_inference.contracts.openapi_parts import (
    ANYTHING,
    TEXT,
    ask,
    body_of,
    either,
    found,
    get,
    listed,
    operation,
    plain,
    predict,
    rows_body,
    tag,
    told,
)
from rondo_inference.registry.served import ServedModel

__all__ = ["multi_model_paths", "shared_paths"]

_LIST = listed(ANYTHING)
_VERSION = ask("version", {"type": "integer", "minimum": 1, "maximum": 10**18 - 1})
_LABEL = ask("label", {"type": "string", "pattern": "^[^/:]+$"})
_LABEL_AND_SCORE: Schema = {
    "type": "array",
    "items": {"type": ["string", "number", "null"]},
    "minItems": 2,
    "maxItems": 2,
}
_RESULTS = {
    "classify": listed(listed(_LABEL_AND_SCORE)),
    "regress": listed(ANY_NUMBER),
}
_SHOWN = told(modelName=TEXT, modelUrl=TEXT)


def shared_paths(models: list[ServedModel]) -> Schema:
    """Return the paths.

    Args:
        models: one version of each model that is loaded.
    """
    names = [served.name for served in models]
    pictures = any(map(takes_pictures, models))
    model = ask("model", _one_of(names))
    return {
        **tag(_tensorflow(names, model, pictures=pictures), "TensorFlow Serving, any model"),
        **tag(_open_inference(names, model, pictures=pictures), "Open Inference, any model"),
        **tag(_aws(names, model, pictures=pictures), "SageMaker and AWS Lambda, any model"),
    }


def _one_of(names: list[str]) -> Schema:
    return {"type": "string", "enum": names} if names else TEXT


def _tensorflow(names: list[str], model: Schema, *, pictures: bool) -> Schema:
    at = "/v1/models/{model}"
    paths: Schema = {}
    for place, of, more in (
        ("", "a model", []),
        ("/versions/{version}", "a version", [_VERSION]),
        ("/labels/{label}", "a label", [_LABEL]),
    ):
        asked = [model, *more]
        if more:  # a model alone has typed paths of its own
            paths[at + place] = {
                "get": get(f"status of {of}", model_version_status=_LIST) | {"parameters": asked}
            }
            paths[f"{at}{place}/metadata"] = {
                "get": get(f"metadata of {of}", model_spec=ANYTHING, metadata=ANYTHING)
                | {"parameters": asked}
            }
            paths[f"{at}{place}:predict"] = {
                "post": predict(
                    f"predictions of {of}",
                    either(names, "Predict"),
                    either(names, "Predictions"),
                    pictures=pictures,
                    parameters=asked,
                )
            }
        for verb, results in _RESULTS.items():
            paths[f"{at}{place}:{verb}"] = {
                "post": operation(
                    f"{verb} with {of}",
                    found(told(results=results), "predicted"),
                    "406",
                    "415",
                    "507",
                    parameters=asked,
                    requestBody=rows_body(_examples(names), pictures=pictures),
                )
            }
    return paths


def _examples(names: list[str]) -> Schema:
    examples = listed(either(names, "Example")) | {"minItems": 1}
    return {
        "type": "object",
        "required": ["examples"],
        "properties": {"context": ANYTHING, "examples": examples},
    }


def _open_inference(names: list[str], model: Schema, *, pictures: bool) -> Schema:
    at, asked = "/v2/models/{model}/versions/{version}", [model, _VERSION]
    entry = told(name=TEXT, version=TEXT, state=TEXT, reason=TEXT)
    wanted = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    repository = "/v2/repository/models/{model}"
    inferred = {"anyOf": [either(names, "Inferred"), either(names, "Predictions")]}

    def of_version(summary: str, **properties: Schema) -> Schema:
        return {"get": get(summary, **properties) | {"parameters": asked}}

    def act(summary: str) -> Schema:
        return {"post": operation(summary, found(ANYTHING, "done"), "507", parameters=[model])}

    return {
        at: of_version("inputs and outputs of a version", inputs=_LIST, outputs=_LIST),
        f"{at}/ready": of_version("whether a version is loaded", ready={"type": "boolean"}),
        f"{at}/stats": of_version("statistics of a version", model_stats=_LIST),
        f"{at}/infer": {
            "post": predict(
                "Open Inference Protocol of a version",
                either(names, "Infer"),
                inferred,
                pictures=pictures,
                parameters=asked,
            )
        },
        "/v2/models/stats": {"get": get("statistics of all models", model_stats=_LIST)},
        "/v2/repository/index": {
            "post": operation(
                "all versions of all models",
                found(listed(entry)),
                requestBody=body_of({"application/json": wanted}),
            )
        },
        f"{repository}/load": act("load a model"),
        f"{repository}/unload": act("unload a model"),
    }


def _aws(names: list[str], model: Schema, *, pictures: bool) -> Schema:
    body, answer = either(names, "Predict"), either(names, "Predictions")
    failed = told(errorMessage=TEXT, errorType=TEXT)
    kinds: Schema = {"type": "string", "enum": ["RequestResponse", "DryRun"]}
    invoke = predict(
        "AWS Lambda's invoke call; the function is a model",
        body,
        {"anyOf": [answer, failed]},
        pictures=pictures,
        parameters=[
            model,
            ask("Qualifier", TEXT, place="query"),
            ask("X-Amz-Invocation-Type", kinds, place="header"),
        ],
    )
    invoke["responses"] |= plain("it would be predicted", 204)
    return {
        "/invocations": {
            "post": predict(
                "SageMaker's invocation; of several models the query names one",
                body,
                answer,
                pictures=pictures,
                parameters=[
                    ask("model", model["schema"], place="query"),
                    ask("label", TEXT, place="query"),
                ],
            )
        },
        "/2015-03-31/functions/{model}/invocations": {"post": invoke},
    }


def multi_model_paths(models: list[ServedModel]) -> Schema:
    """Return the paths of SageMaker's multi-model contract."""
    names = [served.name for served in models]
    named = [ask("name", _one_of(names))]
    wanted = told(model_name=TEXT, url=TEXT)
    page = told(models=listed(_SHOWN))
    paths: Schema = {
        "/models": {
            "get": operation(
                "models that are loaded",
                found(page),
                parameters=[ask("next_page_token", TEXT, place="query")],
            ),
            "post": operation(
                "load a model from the disk",
                found(_SHOWN, "loaded"),
                "409",
                "507",
                requestBody=body_of({"application/json": wanted}),
            ),
        },
        "/models/{name}": {
            "get": operation("whether a model is loaded", found(_SHOWN), parameters=named),
            "delete": operation("unload a model", found(_SHOWN, "unloaded"), parameters=named),
        },
        "/models/{name}/invoke": {
            "post": predict(
                "predictions of a model",
                either(names, "Predict"),
                either(names, "Predictions"),
                pictures=any(map(takes_pictures, models)),
                parameters=named,
            )
        },
    }
    return tag(paths, "SageMaker, many models")
