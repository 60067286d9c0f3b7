"""A folder of exported versions instead of the store: no AWS, no database, nothing but files.

``DIR/MODEL/VERSION/`` holds a version; docs/serving.md describes the layout. A bare
``DIR/MODEL/VERSION/model.onnx`` is enough. Files are read again when they change.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from rondo_core.errors import Invalid, NotFound, Unavailable
from rondo_core.events import Name
from rondo_core.exports import INDEX_FILE, ONNX_FILE, WEIGHTS_FILE, parse_export_index
from rondo_core.keys import CHAMPION, model_pk
from rondo_core.model_rows import AliasRow
from rondo_core.run_store import Key
from rondo_inference.domain.traffic import Traffic, parse_traffic
from rondo_inference.registry.aliases import Found, key_of
from rondo_inference.registry.folder_files import SPEC_FILE, read_file

__all__ = [
    "SPEC_FILE",
    "FolderAliases",
    "MountedFolders",
    "VersionNote",
]

NOTE_FILE = "version.json"
LABELS_FILE = "labels.json"
TRAFFIC_FILE = "traffic.json"
_EMPTY = f"the folder of models holds none: a model is NAME/VERSION/{ONNX_FILE}"


class VersionNote(Struct, frozen=True, kw_only=True):
    """What ``version.json`` tells of a version; every field may be missing.

    Attributes:
        run_id: the run that made it.
        round: the round that made it.
        metrics: what the evaluator measured.
    """

    run_id: str = "folder"
    round: int = 0
    metrics: dict[str, float] = {}


_LABELS = msgspec.json.Decoder(dict[Name, Annotated[int, Meta(ge=1)]])


class FolderAliases:
    """``Aliases`` that are the folders below one.

    Every version has the label ``vN``; ``champion`` is the highest version unless ``labels.json``
    says otherwise. What has no other label than ``vN`` is loaded when it is asked for.

    Args:
        folder: holds one folder a model, or is one version itself.
        on_demand: whether to wait for a request before anything is loaded.
        pinned: models that are loaded at once all the same.
    """

    def __init__(
        self, folder: Path, *, on_demand: bool = False, pinned: frozenset[str] = frozenset()
    ) -> None:
        self._folder = folder
        self._on_demand = on_demand
        self._pinned = pinned
        self._traffic: dict[str, Traffic] = {}

    def scan(self, known: Iterable[Key]) -> Iterator[Found]:
        """See ``Aliases``."""
        found: dict[Key, AliasRow | Invalid | None] = dict.fromkeys(known)
        traffic: dict[str, Traffic] = {}
        for model, versions in self._models():
            try:
                rows = list(_aliases(model, versions))
                rule = read_file(versions, TRAFFIC_FILE)
                if rule is not None:
                    traffic[model] = parse_traffic(rule)
                    found |= _unknown_labels(model, traffic[model], rows)
            except Invalid as exc:  # what is served of it stays
                found = {key: one for key, one in found.items() if key.pk != model_pk(model)}
                found[Key(model_pk(model), "*")] = exc
            else:
                found |= {key_of(alias): alias for alias in rows}
        self._traffic = traffic
        if not any(found.values()):
            found[Key("", "")] = Invalid(_EMPTY)
        yield from sorted(found.items())

    def is_lazy(self, alias: AliasRow) -> bool:
        """See ``Aliases``."""
        if alias.label == _own_label(alias.model_version):
            return True
        return self._on_demand and alias.model not in self._pinned

    def traffic(self) -> dict[str, Traffic]:
        """See ``Aliases``."""
        return self._traffic

    def folder_of(self, alias: AliasRow) -> Path:
        """Return where a version is."""
        for model, folder in self._models():
            if model == alias.model:
                return _versions(folder)[alias.model_version]
        raise NotFound(f"model {alias.model!r} is not in the folder any more")

    def _models(self) -> list[tuple[str, Path]]:
        try:
            if (self._folder / ONNX_FILE).exists():
                return [(_model_name(self._folder), self._folder)]
            return [(path.name, path) for path in sorted(self._folder.iterdir()) if path.is_dir()]
        except OSError as exc:
            raise Unavailable(f"{self._folder}: {exc.strerror}") from exc


class MountedFolders:
    """Versions in folders that somebody else names, one by one."""

    def __init__(self) -> None:
        self._folders: dict[str, Path] = {}

    def register(self, model: str, folder: Path) -> AliasRow:
        """Note where a model is; return its alias.

        Args:
            model: its name, whatever it is.
            folder: a version, or numbered versions, of which the highest counts.

        Raises:
            Invalid: there is no version, or a note of it is malformed.
        """
        versions = _versions(folder)
        if not versions:
            raise Invalid(f"{folder} holds no {ONNX_FILE}")
        number = max(versions)
        self._folders[model] = versions[number]
        return _alias(model, CHAMPION, number, versions[number])

    def folder_of(self, alias: AliasRow) -> Path:
        """Return where a version is."""
        return self._folders[alias.model]


def _model_name(folder: Path) -> str:
    """Return the name that a lone version gives itself, or that of its folder."""
    data = read_file(folder, INDEX_FILE)
    return folder.name if data is None else parse_export_index(data).model


def _versions(folder: Path) -> dict[int, Path]:
    """Return number -> folder; a model's folder that is itself a version is number 1."""
    if (folder / ONNX_FILE).exists():
        return {1: folder}
    return {
        int(path.name): path
        for path in sorted(folder.iterdir())
        if path.name.isdecimal() and int(path.name) > 0 and (path / ONNX_FILE).exists()
    }


def _aliases(model: str, folder: Path) -> Iterator[AliasRow]:
    versions = _versions(folder)
    if not versions:
        return
    if ":" in model:  # TensorFlow Serving's paths have it before what is asked
        raise Invalid("the name of a model has no colon")
    own = {_own_label(number): number for number in versions}
    labels = own | {CHAMPION: max(versions), **_labels(folder)}
    for label, number in labels.items():
        if number not in versions:
            raise Invalid(f"{LABELS_FILE}: {label!r} is version {number}, not there")
        if own.get(label, number) != number:
            raise Invalid(f"{LABELS_FILE}: {label!r} is version {number}, and names another")
        yield _alias(model, label, number, versions[number])


def _own_label(version: int) -> str:
    return f"v{version}"


def _labels(folder: Path) -> Mapping[str, int]:
    data = read_file(folder, LABELS_FILE)
    if data is None:
        return {}
    try:
        return _LABELS.decode(data)
    except msgspec.MsgspecError as exc:
        raise Invalid(f"{LABELS_FILE}: {exc}") from exc


def _alias(model: str, label: str, number: int, folder: Path) -> AliasRow:
    try:
        stat = (folder / ONNX_FILE).stat()
        note = msgspec.json.decode(read_file(folder, NOTE_FILE) or b"{}", type=VersionNote)
    except OSError as exc:
        raise Invalid(f"version {number}: {exc.strerror}") from exc
    except msgspec.MsgspecError as exc:
        raise Invalid(f"{NOTE_FILE} of version {number}: {exc}") from exc
    index, spec = (_digest(read_file(folder, name)) for name in (INDEX_FILE, SPEC_FILE))
    weights = _state(folder / WEIGHTS_FILE)
    state = f"{stat.st_mtime_ns} {stat.st_size} {weights} {index} {spec}".encode()
    return AliasRow(
        model=model,
        label=label,
        run_id=note.run_id,
        version=note.round,
        model_version=number,
        sha256=_digest(state),
        export="",
        spec=spec,
        holdout_sha256="",
        metrics=note.metrics,
        promoted_at=datetime.fromtimestamp(stat.st_mtime, UTC),
    )


def _state(file: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        stat = file.stat()
        return f"{stat.st_mtime_ns} {stat.st_size}"
    return ""


def _unknown_labels(model: str, rule: Traffic, rows: Iterable[AliasRow]) -> dict[Key, Invalid]:
    wanted = {*rule.weights, *([rule.shadow] if rule.shadow else [])}
    unknown = sorted(wanted - {alias.label for alias in rows})
    if not unknown:
        return {}
    text = f"{TRAFFIC_FILE}: no label {', '.join(unknown)}; the champion answers in its place"
    return {Key(model_pk(model), TRAFFIC_FILE): Invalid(text)}


def _digest(data: bytes | None) -> str:
    return hashlib.sha256(data or b"").hexdigest()
