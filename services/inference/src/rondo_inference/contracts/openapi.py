"""The OpenAPI document of what is served now, typed per model, and a page that shows it."""

import html
from functools import partial
from importlib.metadata import version as installed

from rondo_inference.contracts.messages import Answer, Request, Route, json_answer, route_pattern
from rondo_inference.contracts.model_schemas import Schema, instance_schema, prediction_schema
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel

__all__ = ["openapi", "routes"]

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string"},
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["row", "column", "rule"],
                "properties": {
                    "row": {"type": "integer", "minimum": 0},
                    "column": {"type": ["string", "null"]},
                    "rule": {"type": "string"},
                },
            },
        },
    },
}
_FAULTS = {
    "400": "the request breaks a rule",
    "401": "no key, or not a valid one",
    "403": "the key is not for this model",
    "404": "no such model, version or label",
    "406": "no type that is accepted is written",
    "408": "the body did not come in time",
    "413": "the body is too long",
    "415": "the body is of a type that is not read",
    "429": "too many requests",
    "503": "not served now; try again",
}
_FILES = ("text/csv", "application/jsonlines", "application/x-npy", "application/x-npz",
          "image/png", "image/jpeg", "multipart/form-data")  # fmt: skip


def routes(catalogue: Catalogue) -> tuple[Route, ...]:
    """Return the routes."""
    return (
        Route("openapi", "GET", route_pattern("/openapi.json"), partial(_document, catalogue)),
        Route("docs", "GET", route_pattern("/docs"), partial(_page, catalogue)),
    )


def _document(catalogue: Catalogue, _: Request) -> Answer:
    return json_answer(openapi(_loaded(catalogue)))


def _loaded(catalogue: Catalogue) -> list[ServedModel]:
    found = {slot.served.name: slot.served for slot in catalogue.slots() if slot.served}
    return [served for _, served in sorted(found.items())]


def openapi(models: list[ServedModel]) -> Schema:
    """Return the document: OpenAPI 3.1."""
    paths: Schema = {
        "/ping": {"get": _plain("SageMaker's health check", {"200": "healthy", "503": "not"})},
        "/v1/models/{model}": {"get": _get("status of the versions of a model", "model")},
        "/v1/models/{model}/metadata": {"get": _get("TF Serving's metadata", "model")},
        "/v2": {"get": _get("the server")},
        "/v2/health/live": {"get": _get("whether the process lives")},
        "/v2/health/ready": {"get": _get("whether every model is loaded")},
        "/v2/models/{model}": {"get": _get("inputs and outputs of a model", "model")},
        "/v2/models/{model}/ready": {"get": _get("whether a model is loaded", "model")},
        "/v2/models/{model}/stats": {"get": _get("statistics of a model", "model")},
        "/catalogue": {"get": _get("all models with their schemas")},
        "/execution-parameters": {"get": _get("SageMaker's batch parameters")},
    }
    schemas: Schema = {"Error": _ERROR}
    for served in models:
        name = served.name
        schemas[f"{name}.Instance"] = instance_schema(served)
        schemas[f"{name}.Prediction"] = prediction_schema(served)
        paths[f"/v1/models/{name}:predict"] = {"post": _predict(name)}
        paths[f"/v2/models/{name}/infer"] = {"post": _infer(served)}
    if len(models) == 1:
        paths["/invocations"] = {"post": _predict(models[0].name)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rondo inference", "version": installed("rondo-inference")},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _plain(summary: str, responses: dict[str, str]) -> Schema:
    return {
        "summary": summary,
        "responses": {code: {"description": text} for code, text in responses.items()},
    }


def _get(summary: str, *parameters: str) -> Schema:
    return {
        "summary": summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in parameters
        ],
        "responses": {
            "200": {
                "description": "found",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **_refusals("400", "401", "403", "404", "429", "503"),
        },
    }


def _refusals(*codes: str) -> Schema:
    content: Schema = {"application/json": {"schema": {}}}
    return {code: {"description": _FAULTS[code], "content": content} for code in codes}


def _predict(name: str) -> Schema:
    instance = {"$ref": f"#/components/schemas/{name}.Instance"}
    prediction = {"$ref": f"#/components/schemas/{name}.Prediction"}
    body = {
        "type": "object",
        "required": ["instances"],
        "properties": {
            "signature_name": {"const": "serving_default"},
            "instances": {"type": "array", "minItems": 1, "items": instance},
        },
    }
    answer = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": prediction}},
    }
    return _post(f"predictions of {name}", body, answer)


def _post(summary: str, body: Schema, answer: Schema) -> Schema:
    content: Schema = {"application/json": {"schema": body}}
    content |= {media: {"schema": {"type": "string", "format": "binary"}} for media in _FILES}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {
                "description": "predicted",
                "content": {
                    "application/json": {"schema": answer},
                    **{media: {"schema": {}} for media in _FILES[:4]},
                },
            },
            **_refusals(*_FAULTS),
        },
    }


def _infer(served: ServedModel) -> Schema:
    names = [info.name for info in served.signature.inputs]
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"enum": names},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"enum": sorted({info.datatype for info in served.signature.inputs})},
            "data": {"type": "array"},
        },
    }
    body = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "minItems": 1, "items": tensor},
        },
    }
    answer = {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {"outputs": {"type": "array", "items": {"type": "object"}}},
    }
    return _post(f"Open Inference Protocol of {served.name}", body, answer)


def _page(catalogue: Catalogue, _: Request) -> Answer:
    document = openapi(_loaded(catalogue))
    rows = [
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation['summary'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Rondo inference</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" '
        'content="light dark"><body style="font-family:sans-serif;margin:2rem;max-width:60rem">'
        '<h1>What this server answers</h1><p>The whole of it, typed per model: <a href="'
        '/openapi.json">openapi.json</a>.</p><table><thead><tr><th scope="col">method</th>'
        '<th scope="col">path</th><th scope="col">what</th></tr></thead><tbody>'
        f"{''.join(rows)}</tbody></table></body></html>"
    )
    return Answer(text.encode(), "text/html; charset=utf-8")
