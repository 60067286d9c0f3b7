"""The OpenAPI document of what is served now, typed per model."""

from dataclasses import dataclass
from importlib.metadata import version as installed

from rondo_inference.contracts.messages import Answer, Request, Route, json_answer, route_pattern
from rondo_inference.contracts.model_schemas import Schema
from rondo_inference.contracts.openapi_jobs import job_schemas
from rondo_inference.contracts.openapi_models import model_paths, model_schemas
from rondo_inference.contracts.openapi_parts import (
    ANYTHING,
    ERROR,
    TEXT,
    get,
    listed,
    plain,
    tag,
)
from rondo_inference.contracts.openapi_shared import multi_model_paths, shared_paths
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel

__all__ = ["Documents"]


@dataclass(frozen=True, slots=True)
class Documents:
    """Writes the document.

    Attributes:
        catalogue: what is served.
        jobs: whether there are batch jobs.
        many: whether SageMaker's multi-model contract is spoken.
    """

    catalogue: Catalogue
    jobs: bool
    many: bool

    def route(self) -> Route:
        """Return the route of the document in JSON."""

        def answer(request: Request) -> Answer:
            return json_answer(self.of(request))

        path = route_pattern("/openapi.json")
        return Route("openapi", "GET", path, answer, browser=True, about_server=True)

    def of(self, request: Request) -> Schema:
        """Return the document of the models that are loaded and that the caller may ask."""
        loaded = {slot.served.name: slot.served for slot in self.catalogue.slots() if slot.served}
        models = [served for name, served in sorted(loaded.items()) if request.may_ask(name)]
        return _openapi(models, jobs=self.jobs, many=self.many)


def _openapi(models: list[ServedModel], *, jobs: bool, many: bool) -> Schema:
    paths = tag(_server_paths(), "The server")
    schemas: Schema = {"Error": ERROR}
    if jobs:
        schemas |= job_schemas()
    for served in models:
        paths |= model_paths(served, jobs=jobs)
        schemas |= model_schemas(served)
    paths |= shared_paths(models) | (multi_model_paths(models) if many else {})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rondo inference", "version": installed("rondo-inference")},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _server_paths() -> Schema:
    return {
        "/ping": {
            "get": {
                "summary": "SageMaker's health check",
                "responses": plain("healthy", 200) | plain("not healthy", 503),
            }
        },
        "/v2": {"get": get("the server", name=TEXT, version=TEXT, extensions=listed(TEXT))},
        "/v2/health/live": {"get": get("whether the process lives", live={"type": "boolean"})},
        "/v2/health/ready": {
            "get": get("whether every model is loaded", ready={"type": "boolean"})
        },
        "/catalogue": {"get": get("all models with their schemas", models=listed(ANYTHING))},
        "/execution-parameters": {
            "get": get("SageMaker's batch parameters", MaxPayloadInMB={"type": "integer"})
        },
    }
