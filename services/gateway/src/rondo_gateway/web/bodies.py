"""Bodies: read with a limit, decoded and encoded by msgspec; and what OpenAPI says of them."""

from typing import Any, TypeVar

import msgspec
from fastapi import Request, Response

from rondo_core.faults import fault_in_json
from rondo_gateway.domain.refusals import Unfit
from rondo_gateway.web.problems import BodyTooLarge, MalformedJson

__all__ = ["MAX_BODY_BYTES", "REFERENCE", "Json", "gives", "read_body", "takes"]

Body = TypeVar("Body")
Kind = Any
"""A type form that msgspec can write, for example ``list[RunView]``."""

MAX_BODY_BYTES = 1024 * 1024
REFERENCE = "#/components/schemas/{name}"


class Json(Response):
    """An answer. It may hold a capability (a presigned URL, an invite), so nobody keeps it."""

    media_type = "application/json"

    def __init__(self, body: object, *, status_code: int = 200) -> None:
        super().__init__(
            msgspec.json.encode(body),
            status_code=status_code,
            headers={"Cache-Control": "no-store"},
        )


async def read_body(request: Request, kind: type[Body], *, limit: int = MAX_BODY_BYTES) -> Body:
    """Read and decode a body. Unknown fields are skipped.

    Raises:
        BodyTooLarge: longer than ``limit`` bytes; it is not read further.
        MalformedJson: empty, or not JSON.
        Unfit: ``invalid-body``; the text names the JSON path and the value found.
    """
    data = await _read(request, limit)
    if not data or data.isspace():
        raise MalformedJson("malformed-json", "the body is empty; send JSON")
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as exc:
        raise Unfit("invalid-body", str(fault_in_json(exc, data))) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise MalformedJson("malformed-json", str(exc)) from exc
    except RecursionError as exc:
        raise MalformedJson("malformed-json", "nested too deeply") from exc


async def _read(request: Request, limit: int) -> bytearray:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise BodyTooLarge("body-too-large", f"{announced} bytes are over {limit}")
    data = bytearray()
    async for block in request.stream():
        data += block
        if len(data) > limit:
            raise BodyTooLarge("body-too-large", f"the body is over {limit} bytes")
    return data


def takes(kind: Kind) -> dict[str, Any]:
    """Return a route's ``openapi_extra``: the body's type, or a ready schema."""
    return {"requestBody": {"required": True, "content": _content(kind)}}


def gives(kind: Kind, *, status: int = 200, description: str = "As asked.") -> dict[int | str, Any]:
    """Return a route's ``responses``: the answer's type."""
    return {status: {"description": description, "content": _content(kind)}}


def _content(kind: Kind) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REFERENCE)
    return {"application/json": {"schema": schema}}
