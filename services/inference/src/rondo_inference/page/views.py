"""What the templates show of models and versions."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from rondo_core.input_schema import ImageInput
from rondo_core.keys import CHAMPION
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes
from rondo_inference.contracts.messages import Request
from rondo_inference.contracts.model_schemas import Schema
from rondo_inference.domain.tensor_json import tensor_to_json
from rondo_inference.domain.tensors import Signature, TensorInfo
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.slots import VersionState

__all__ = [
    "ModelCard",
    "VersionChoice",
    "cards",
    "choices",
    "operations",
    "sample_body",
    "takes_and_gives",
]


_STATES: Mapping[VersionState, str] = {
    "START": "loaded when it is asked",
    "LOADING": "is being loaded",
    "AVAILABLE": "ready",
    "UNLOADING": "is being unloaded",
    "END": "cannot be loaded",
}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model in the list.

    Attributes:
        name: its name.
        about: what it takes and gives, as far as that is known without loading it.
        state: how it stands.
        versions: those that can be asked.
    """

    name: str
    about: str
    state: str
    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """A version that can be asked, with the labels that name it."""

    version: int
    labels: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A path that a program may ask."""

    method: str
    path: str
    summary: str


@dataclass(frozen=True, slots=True)
class OperationGroup:
    """The paths of one model, or of a contract."""

    name: str
    operations: list[Operation]


def operations(document: Schema) -> list[OperationGroup]:
    """Return what an OpenAPI document has, by the tags of its operations, in its order."""
    groups: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, found in methods.items():
            (tag,) = found["tags"]
            groups.setdefault(tag, []).append(Operation(method.upper(), path, found["summary"]))
    return [OperationGroup(name, found) for name, found in groups.items()]


def cards(catalogue: Catalogue, request: Request) -> list[ModelCard]:
    """Return the models that the caller may ask, by name."""
    return [_card(catalogue, name) for name in catalogue.names() if request.may_ask(name)]


def _card(catalogue: Catalogue, name: str) -> ModelCard:
    slots = list(catalogue.of(name))
    served = next((slot.served for slot in slots if slot.served is not None), None)
    about = takes_and_gives(served) if served is not None else ""
    champion = next((slot for slot in slots if slot.wanted.label == CHAMPION), slots[0])
    state = "unloaded" if champion.unloaded else _STATES[champion.state]
    return ModelCard(name, about, state, tuple(catalogue.versions(name)))


def choices(catalogue: Catalogue, name: str) -> list[VersionChoice]:
    """Return the versions of a model, the newest first."""
    labels: dict[int, list[str]] = {}
    for slot in catalogue.of(name):
        labels.setdefault(slot.wanted.model_version, []).append(slot.wanted.label)
    return [
        VersionChoice(version, ", ".join(_spoken(version, labels.get(version, []))))
        for version in reversed(catalogue.versions(name))
    ]


def _spoken(version: int, labels: Iterable[str]) -> list[str]:
    """Without the label that every version has of its own."""
    return sorted(label for label in labels if label != f"v{version}")


def takes_and_gives(served: ServedModel) -> str:
    """Say in a line what goes in and what comes out."""
    if served.spec is None:
        inputs, outputs = served.signature.inputs, served.signature.outputs
        return f"tensors: {_count(inputs, 'input')}, {_count(outputs, 'output')}"
    return f"{_takes(served.spec)} → {_gives(served.spec)}"


def _count(found: tuple[TensorInfo, ...], word: str) -> str:
    return f"{len(found)} {word}{'' if len(found) == 1 else 's'}"


def _takes(spec: ModelSpec) -> str:
    if not isinstance(spec.input, ImageInput):
        count = len(spec.input.columns)
        return f"{count} column{'' if count == 1 else 's'}"
    kind = {1: "grey pictures", 3: "colour pictures"}.get(spec.input.channels, "pictures")
    return f"{kind}, {spec.input.width} × {spec.input.height}"


def _gives(spec: ModelSpec) -> str:
    if not isinstance(spec.output, Classes):
        return spec.output.name
    labels = spec.output.labels
    few = len(labels) <= 3  # noqa: PLR2004  (more would not fit into the line)
    return " or ".join(labels) if few else f"one of {len(labels)} labels"


def sample_body(signature: Signature) -> str:
    """Return a request for a model that is only tensors, to be changed by hand.

    Sides that a request chooses are 1.
    """
    lines = [
        f"    {json.dumps(info.name)}: {json.dumps(tensor_to_json(info.name, _zeros(info)))}"
        for info in signature.inputs
    ]
    return '{\n  "inputs": {\n' + ",\n".join(lines) + "\n  }\n}"


def _zeros(info: TensorInfo) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    shape = tuple(1 if side < 0 else side for side in info.shape)
    if info.dtype == object:
        return np.full(shape, b"", object)
    return np.zeros(shape, info.dtype)
