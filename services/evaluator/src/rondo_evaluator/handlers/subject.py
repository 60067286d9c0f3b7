"""Loads what is to be judged: the run's newest version, its spec and its holdout."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rondo_core.errors import Invalid, NotFound
from rondo_core.holdout import decode_holdout
from rondo_core.keys import head_key, run_key, spec_row_key, version_key
from rondo_core.layout import Float32Array
from rondo_core.model_rows import SpecRow
from rondo_core.model_spec import ModelSpec, parse_model_spec
from rondo_core.model_store import ModelStore, holdout_key, spec_key, weights_key
from rondo_core.rows import HeadRow, Row, RunRow, VersionRow, from_item
from rondo_core.run_store import Key, RunStore
from rondo_core.weights import decode, digest, layout_of_file

__all__ = ["Candidate", "Holdout", "find", "load_candidate", "load_holdout", "load_model"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version's rows."""

    run: RunRow
    version: VersionRow
    spec: SpecRow


@dataclass(frozen=True, slots=True)
class Holdout:
    """Labelled records: ``x`` of shape (n, …), ``y`` of shape (n,)."""

    x: NDArray[np.generic]
    y: NDArray[np.generic]


def find(store: RunStore, key: Key, kind: type[Row]) -> Row:
    """Read a row that must exist.

    Raises:
        NotFound: it does not.
    """
    item = store.get(key)
    if item is None:
        raise NotFound(f"row {'/'.join(key)} does not exist")
    return from_item(item, kind)


def load_candidate(run_id: str, store: RunStore) -> Candidate:
    """Read the run's newest version.

    Raises:
        NotFound: a row is missing.
    """
    run = find(store, run_key(run_id), RunRow)
    head = find(store, head_key(run_id), HeadRow)
    return Candidate(
        run=run,
        version=find(store, version_key(run_id, head.version), VersionRow),
        spec=find(store, spec_row_key(run.model, run.spec), SpecRow),
    )


def load_model(
    spec_sha256: str, weights_sha256: str, store: ModelStore
) -> tuple[ModelSpec, Float32Array]:
    """Read a spec and weights, each checked against the digest that names it.

    Raises:
        NotFound: an object is missing.
        Invalid: an object is not what its name promises.
    """
    spec = parse_model_spec(_verified(store, spec_key(spec_sha256), spec_sha256))
    weights = _verified(store, weights_key(weights_sha256), weights_sha256)
    return spec, decode(weights, layout_of_file(weights))


def load_holdout(sha256: str, store: ModelStore) -> Holdout:
    """Read a holdout, checked against its digest.

    Raises:
        NotFound: it is missing.
        Invalid: it is not what its name promises, or not a holdout.
    """
    x, y = decode_holdout(_verified(store, holdout_key(sha256), sha256))
    return Holdout(x, y)


def _verified(store: ModelStore, key: str, sha256: str) -> bytes:
    data = store.get(key)
    found = digest(data)
    if found != sha256:
        raise Invalid(f"object {key} has the SHA-256 {found}")
    return data
