"""What the OpenAPI document is built of: operations, their parameters, and their refusals."""

from rondo_inference.contracts.messages import CSV, JSON
from rondo_inference.contracts.model_schemas import Schema
from rondo_inference.contracts.pictures import PICTURES
from rondo_inference.contracts.writers import LINES, NPY, NPZ

__all__ = [
    "ANYTHING",
    "ERROR",
    "TEXT",
    "ask",
    "body_of",
    "either",
    "found",
    "get",
    "listed",
    "operation",
    "plain",
    "predict",
    "reference",
    "rows_body",
    "tag",
    "told",
]

ANYTHING: Schema = {"type": "object"}
TEXT: Schema = {"type": "string"}

ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string", "minLength": 1},
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
"""The body of every refusal."""

_FAULTS = {
    "400": "the request breaks a rule",
    "401": "no key, or not a valid one",
    "403": "the key is not for this model",
    "404": "no such model, version, label or job; a job of another owner is none",
    "406": "no type that is accepted is written",
    "408": "the body did not come in time",
    "409": "the job is in another state",
    "413": "the body is too long",
    "415": "the body is of a type that is not read",
    "429": "too many requests",
    "503": "not served now; try again",
    "507": "the model does not fit into memory",
}
_ALWAYS = ("400", "401", "403", "404", "429", "503")
_OF_A_BODY = ("408", "413")
_ROWS = (CSV, LINES, NPY, NPZ)
_FORM = "multipart/form-data"


def reference(name: str) -> Schema:
    """Refer to one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def found(schema: Schema, text: str = "found", code: int = 200) -> Schema:
    """Return the response of a success, in JSON."""
    return {str(code): {"description": text, "content": {"application/json": {"schema": schema}}}}


def plain(text: str, code: int) -> Schema:
    """Return a response without a body, or of one that nobody reads."""
    return {str(code): {"description": text}}


def body_of(content: Schema) -> Schema:
    """Return a body that must be there: media type -> its schema."""
    return {
        "required": True,
        "content": {media: {"schema": schema} for media, schema in content.items()},
    }


def operation(summary: str, success: Schema, *also: str, **fields: object) -> Schema:
    """Return an operation.

    Args:
        summary: what it does.
        success: its responses that are no refusals.
        also: codes of the refusals that not every operation has.
        fields: more of it: ``parameters``, ``requestBody``.
    """
    codes = sorted({*_ALWAYS, *also, *(_OF_A_BODY if "requestBody" in fields else ())})
    refused = found(reference("Error"))["200"]["content"]
    refusals = {code: {"description": _FAULTS[code], "content": refused} for code in codes}
    return {"summary": summary, "responses": {**success, **refusals}, **fields}


def ask(name: str, schema: Schema, *, place: str = "path") -> Schema:
    """Return a parameter: one of the path, which must be there, or one of the query."""
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def listed(items: Schema) -> Schema:
    """Return a list of something."""
    return {"type": "array", "items": items}


def told(**properties: Schema) -> Schema:
    """Return an object that has all of these."""
    return ANYTHING | {"required": list(properties), "properties": properties}


def either(names: list[str], kind: str) -> Schema:
    """Return one of the schemas that several models have of a kind; with no model, any object."""
    return {"anyOf": [reference(f"{name}.{kind}") for name in names]} if names else ANYTHING


def get(summary: str, **properties: Schema) -> Schema:
    """Return an operation that tells an object."""
    return operation(summary, found(told(**properties)))


def predict(
    summary: str, body: Schema, answer: Schema, *, pictures: bool, **fields: object
) -> Schema:
    """Return an operation that predicts rows, which come as JSON or as a file.

    Args:
        summary: what it does.
        body: in JSON.
        answer: in JSON.
        pictures: whether a file may be one.
        fields: see ``operation``.
    """
    success = found(answer, "predicted")
    success["200"]["content"] |= {one: {} for one in _ROWS}
    sent = rows_body(body, pictures=pictures)
    return operation(summary, success, "406", "415", "507", requestBody=sent, **fields)


def rows_body(body: Schema, *, pictures: bool) -> Schema:
    """Return a body of rows, which come as JSON or as a file; see ``predict``."""
    media = (*_ROWS, *(PICTURES if pictures else ()))
    files = {one: {"type": "string", "format": "binary"} for one in media}
    return body_of({JSON: body, **files, _FORM: ANYTHING})


def tag(paths: Schema, name: str) -> Schema:
    """Say what operations are about."""
    for methods in paths.values():
        for one in methods.values():
            one["tags"] = [name]
    return paths
