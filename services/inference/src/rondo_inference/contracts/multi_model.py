"""SageMaker's multi-model contract: models are loaded, listed, unloaded and invoked by name.

Only there when the container is told so (``SAGEMAKER_MULTI_MODEL=true``): whoever reaches the port
can load what is on the disk.

Source: "Contract for custom containers for multi-model endpoints" (docs.aws.amazon.com/sagemaker).
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from rondo_core.errors import Conflict, Invalid, NotFound, RondoError
from rondo_core.model_rows import AliasRow
from rondo_inference.contracts.media import FileRules
from rondo_inference.contracts.messages import (
    Answer,
    PredictRoute,
    Request,
    Route,
    WaitRoute,
    json_answer,
    request_key,
    route_pattern,
)
from rondo_inference.contracts.oip_repository import unload
from rondo_inference.contracts.sagemaker import ask_invocation, attributes
from rondo_inference.handlers import Inference, Target
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.memory import NoRoom
from rondo_inference.registry.slots import Slot

__all__ = ["Describe", "routes"]

Describe = Callable[[str, Path], AliasRow]
"""Makes the alias of a model whose files are in a folder; see ``registry.folder.describe``."""

UNLOAD_SECONDS = 350.0
"""SageMaker waits 360 s."""

_PAGE = 100
_LONGEST_NAME = 1024
_FORBIDDEN = ("/dev", "/proc", "/sys")
_NAME = "(?P<name>[^/]+)"


class _Load(Struct, frozen=True):
    model_name: str
    url: str


@dataclass(frozen=True, slots=True)
class _Door:
    inference: Inference
    describe: Describe
    urls: dict[str, str] = field(default_factory=dict)
    coming: set[str] = field(default_factory=set)

    def shown(self, name: str) -> dict[str, str]:
        return {"modelName": name, "modelUrl": self.urls.get(name, "")}


def routes(
    inference: Inference, rules: FileRules, describe: Describe
) -> tuple[Route | PredictRoute | WaitRoute, ...]:
    """Return the contract's routes."""
    door, catalogue = _Door(inference, describe), inference.catalogue
    one = route_pattern(f"/models/{_NAME}")
    return (
        WaitRoute("mme-load", "POST", route_pattern("/models"), partial(_load, door)),
        Route("mme-list", "GET", route_pattern("/models"), partial(_list, door)),
        Route("mme-get", "GET", one, partial(_get, door)),
        WaitRoute("mme-unload", "DELETE", one, partial(_unload, door)),
        PredictRoute(
            name="mme-invoke",
            pattern=route_pattern(f"/models/{_NAME}/invoke"),
            target=partial(_target, catalogue),
            ask=partial(ask_invocation, rules),
            headers=attributes,
        ),
    )


async def _load(door: _Door, request: Request) -> Answer:
    wanted = _read(request.body)
    catalogue, folder = door.inference.catalogue, _folder(wanted.url)
    if wanted.model_name in door.coming:
        raise Conflict(f"model {wanted.model_name!r} is being loaded")
    if any(slot.served is not None for slot in catalogue.of(wanted.model_name)):
        raise Conflict(f"model {wanted.model_name!r} is loaded already")
    try:
        alias = door.describe(wanted.model_name, folder)
    except Invalid as exc:
        raise NotFound(f"the artifact cannot be read: {exc}") from exc
    await _bring(door, Slot(alias, lazy=True))
    door.urls[alias.model] = wanted.url
    return json_answer(door.shown(alias.model))


async def _bring(door: _Door, slot: Slot) -> None:
    """Load what a slot wants; nothing stays of a load that fails or is cancelled."""
    catalogue, name, done = door.inference.catalogue, slot.wanted.model, False
    catalogue.store(slot)
    door.coming.add(name)  # from here on a second load of the name is a conflict
    try:
        await door.inference.loading.load(slot)
        done = True
    except NoRoom:
        raise
    except RondoError as exc:
        raise NotFound(f"the artifact cannot be loaded: {exc}") from exc
    finally:
        door.coming.discard(name)
        if not done:
            catalogue.drop(name, slot.wanted.label)


def _read(body: bytes) -> _Load:
    try:
        found = msgspec.json.decode(body, type=_Load)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise Invalid(f"the body must name model_name and url: {exc}") from exc
    if not 0 < len(found.model_name) <= _LONGEST_NAME or "/" in found.model_name:
        raise Invalid("model_name is empty, too long, or holds a slash")
    return found


def _folder(url: str) -> Path:
    """Return the folder of an artifact; the name of the model is never part of a path of ours."""
    path = Path(url.removeprefix("file://"))
    if not path.is_absolute() or ".." in path.parts or "\0" in url:
        raise Invalid(f"url {url[:200]!r} is not an absolute path without ..")
    real = path.resolve()
    if any(real.is_relative_to(root) for root in _FORBIDDEN):
        raise Invalid(f"url {url[:200]!r} is below {', '.join(_FORBIDDEN)}")
    if not real.is_dir():
        raise NotFound(f"there is no folder {url[:200]!r}")
    return real


def _list(door: _Door, request: Request) -> Answer:
    catalogue = door.inference.catalogue
    names = sorted({slot.wanted.model for slot in catalogue.slots() if slot.served is not None})
    start = _start(request.parameter("next_page_token"), names)
    page, rest = names[start : start + _PAGE], names[start + _PAGE :]
    body: dict[str, object] = {"models": [door.shown(name) for name in page]}
    if rest:
        body["nextPageToken"] = base64.urlsafe_b64encode(rest[0].encode()).decode()
    return json_answer(body)


def _start(token: str | None, names: list[str]) -> int:
    """A token is the first name of its page, so that models may come and go between two calls."""
    if not token:
        return 0
    try:
        first = base64.urlsafe_b64decode(token).decode()
    except ValueError as exc:
        raise Invalid("next_page_token is none of ours") from exc
    return sum(name < first for name in names)


def _slot(catalogue: Catalogue, name: str) -> Slot:
    """Return what was loaded by name, or evicted since; not what somebody unloaded."""
    slots = [slot for slot in catalogue.of(name) if not slot.unloaded]
    if not slots:
        raise NotFound(f"model {name!r} is not loaded")
    return slots[0]


def _get(door: _Door, request: Request) -> Answer:
    slot = _slot(door.inference.catalogue, request.path["name"])
    if slot.served is None:
        raise NotFound(f"model {slot.wanted.model!r} is not loaded")
    return json_answer(door.shown(slot.wanted.model))


async def _unload(door: _Door, request: Request) -> Answer:
    name = request.path["name"]
    slot = _slot(door.inference.catalogue, name)
    await unload(door.inference, name, seconds=UNLOAD_SECONDS)
    door.inference.catalogue.drop(name, slot.wanted.label)
    shown = door.shown(name)
    door.urls.pop(name, None)
    return json_answer(shown)


def _target(catalogue: Catalogue, request: Request) -> Target:
    """Only what was loaded by name is invoked: 404 tells SageMaker to load it."""
    slot = _slot(catalogue, request.path["name"])
    return Target(slot.wanted.model, label=slot.wanted.label, key=request_key(request))
