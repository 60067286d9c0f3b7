"""The batch jobs' part of the OpenAPI document."""

import msgspec

from rondo_inference.batch.wire import JobList, JobView, NewJob
from rondo_inference.contracts.model_schemas import Schema
from rondo_inference.contracts.openapi_parts import (
    ask,
    body_of,
    found,
    operation,
    plain,
    reference,
)
from rondo_inference.domain.batch_media import CSV, LINES, NPY, PICTURES

__all__ = ["job_paths", "job_schemas"]

_TEMPLATE = "#/components/schemas/{name}"


def job_schemas() -> Schema:
    """Return the schemas of the jobs' bodies by name, as the decoder has them."""
    _, found_schemas = msgspec.json.schema_components(
        (NewJob, JobView, JobList), ref_template=_TEMPLATE
    )
    # Python writes the end of a text as \Z, JSON Schema's dialect of patterns only as $.
    text = msgspec.json.encode(found_schemas).replace(rb"\\Z", b"$")
    schemas: Schema = msgspec.json.decode(text)
    schemas["NewJob"]["oneOf"] = [
        {"required": ["files"], "properties": {"files": {"minItems": 1}}},
        {"required": ["input"]},
    ]
    return schemas


def job_paths(name: str, *, pictures: bool) -> Schema:
    """Return the paths of a model's jobs.

    Args:
        name: of the model.
        pictures: whether it takes pictures.
    """
    kinds = (CSV, LINES, NPY, *(PICTURES if pictures else ()))
    wanted = {
        "allOf": [
            reference("NewJob"),
            {
                "properties": {
                    "content_type": {"enum": list(kinds)},
                    "accept": {"enum": [CSV, LINES, ""]},
                }
            },
        ]
    }
    job = [ask("job", {"type": "string", "pattern": "^[A-Za-z0-9-]+$"})]
    before = ask("before", {"type": "string"}, place="query")
    view = found(reference("JobView"))
    jobs = f"/batch/{name}/jobs"

    def act(summary: str) -> Schema:
        return {"post": operation(summary, view, "409", parameters=job)}

    return {
        jobs: {
            "get": operation(
                f"batch jobs of {name}",
                found(reference("JobList")),
                parameters=[before],
                description="The newest first; with keys, those of the key's owner only.",
            ),
            "post": operation(
                f"make a batch job of {name}",
                found(reference("JobView"), "made", 201),
                requestBody=body_of({"application/json": wanted}),
            ),
        },
        f"{jobs}/{{job}}": {
            "get": operation("how a batch job stands", view, parameters=job),
            "delete": operation(
                "delete a batch job with its files", plain("deleted", 204), "409", parameters=job
            ),
        },
        f"{jobs}/{{job}}/start": act("start a batch job, or go on with it"),
        f"{jobs}/{{job}}/cancel": act("cancel a batch job"),
    }
