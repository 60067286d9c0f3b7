"""What the OpenAPI document is built of: operations, their parameters, and their refusals."""

from rondo_inference.contracts.model_schemas import Schema

__all__ = ["ERROR", "ask", "body_of", "found", "operation", "plain", "reference"]

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
}
_ALWAYS = ("400", "401", "403", "404", "429", "503")
_OF_A_BODY = ("408", "413")


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
