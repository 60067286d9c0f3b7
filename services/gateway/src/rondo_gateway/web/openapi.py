"""The OpenAPI document: FastAPI's paths, and the schemas of all bodies, made by msgspec."""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from rondo_core import client_wire, operator_wire, wire
from rondo_core.events import RunRequested
from rondo_gateway.domain.runs import REQUESTED_FIELDS
from rondo_gateway.web.bodies import REFERENCE

__all__ = ["describe"]

DESCRIPTION = """Federated learning on events: enrolment, assignments, uploads, runs and versions.

Operators send their bearer token. Clients sign a JWT for each request (EdDSA by the key they
enrolled; claims sub, model, aud = rondo, iat, exp at most 60 s later, jti). Weights never pass
here: links lead to the store. Every error is a Problem.
"""
OPEN = frozenset({"/v1/enrolments"})


def describe(app: FastAPI) -> dict[str, Any]:
    """Make the document."""
    document = get_openapi(
        title="Rondo gateway", version="1", description=DESCRIPTION, routes=app.routes
    )
    document["components"] = {
        "schemas": _schemas(),
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "operator or client"}
        },
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _finish(operation, is_open=path in OPEN)
    return document


def _finish(operation: dict[str, Any], *, is_open: bool) -> None:
    """Say what is the same for all: how errors look, and that a token is needed."""
    problem = {"schema": {"$ref": REFERENCE.format(name="Problem")}}
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {
        "description": "Refused, or not possible now.",
        "content": {"application/json": problem},
    }
    if not is_open:
        operation["security"] = [{"token": []}]


def _schemas() -> dict[str, Any]:
    modules = (client_wire, operator_wire, wire)
    named = [getattr(module, name) for module in modules for name in module.__all__]
    structs = [kind for kind in named if isinstance(kind, type)]
    _, schemas = msgspec.json.schema_components(structs, ref_template=REFERENCE)
    return {**schemas, "RunWanted": _run_wanted()}


def _run_wanted() -> dict[str, Any]:
    """Describe the body of ``POST /v1/runs``: ``RunRequested`` without its envelope."""
    _, schemas = msgspec.json.schema_components([RunRequested], ref_template=REFERENCE)
    schema = schemas["RunRequested"]
    names = ("run_id", *REQUESTED_FIELDS)
    return {
        "title": "RunWanted",
        "description": "What to run; ``run_id`` is made up if it is left out.",
        "type": "object",
        "properties": {name: schema["properties"][name] for name in names},
        "required": [name for name in schema["required"] if name in REQUESTED_FIELDS],
    }
