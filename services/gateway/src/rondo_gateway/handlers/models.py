"""Models and their specs, as operators register and read them."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from rondo_core.keys import MODELS_PK, model_pk, model_row_key, spec_row_key
from rondo_core.layout import Layout
from rondo_core.model_rows import ModelRow, SpecRow, choose_spec
from rondo_core.model_spec import ModelSpec, encode_model_spec, parse_model_spec
from rondo_core.model_store import ModelStore, UploadLinks, holdout_key, spec_key, weights_key
from rondo_core.operator_wire import FileClaim, ModelView, SpecRegistered, SpecRegistration
from rondo_core.rows import from_item
from rondo_core.run_store import CommitConflict, RunStore
from rondo_core.wire import Upload
from rondo_gateway.domain.refusals import Missing
from rondo_gateway.domain.specs import check_registration, check_same, spec_changes, spec_row
from rondo_gateway.domain.views import model_view

__all__ = [
    "LINK_SECONDS",
    "check_model",
    "check_spec",
    "find_spec",
    "list_models",
    "read_spec",
    "register_spec",
    "show_model",
]

LINK_SECONDS = 900


def register_spec(
    model: str,
    body: SpecRegistration,
    *,
    store: RunStore,
    objects: ModelStore,
    links: UploadLinks,
    now: datetime,
) -> SpecRegistered:
    """Register a spec, and say which of its files are still to be uploaded. Repeats are welcome.

    Raises:
        SpecInvalid, HeaderInvalid, LayoutMismatch: what is wrong with the body.
        Refusal: see `rondo_gateway.domain.specs`.
        Unavailable: table or bucket did not answer.
    """
    spec = parse_model_spec(msgspec.json.encode(body.spec))
    layout = Layout.from_header(body.header.encode())
    check_registration(model, spec, layout, body)
    row = spec_row(spec, layout, body, now=now)
    _save(spec, row, store=store, objects=objects)
    return SpecRegistered(
        spec=row.spec,
        initial=_missing_upload(weights_key, body.initial, objects=objects, links=links),
        holdout=_missing_upload(holdout_key, body.holdout, objects=objects, links=links),
    )


def _save(spec: ModelSpec, row: SpecRow, *, store: RunStore, objects: ModelStore) -> None:
    objects.put(spec_key(row.spec), encode_model_spec(spec))
    try:
        store.commit(*spec_changes(row))
    except CommitConflict:
        item = store.get(spec_row_key(row.model, row.spec))
        if item is None:
            raise
        check_same(from_item(item, SpecRow), row)


def _missing_upload(
    key_of: Callable[[str], str], claim: FileClaim, *, objects: ModelStore, links: UploadLinks
) -> Upload | None:
    """Return a link for a file that the store does not have."""
    key = key_of(claim.sha256)
    if objects.head(key) is not None:
        return None
    link = links.for_upload(key, size=claim.size, sha256=claim.sha256, expires_seconds=LINK_SECONDS)
    return Upload(url=link.url, headers=dict(link.headers))


def list_models(*, store: RunStore) -> list[ModelView]:
    """Show all models, by name.

    Raises:
        Unavailable: the table did not answer.
    """
    names = [from_item(item, ModelRow).model for item in store.query(MODELS_PK)]
    views = (model_view(name, store.query(model_pk(name))) for name in names)
    return [view for view in views if view is not None]


def show_model(model: str, *, store: RunStore) -> ModelView:
    """Show a model: its specs (newest first), its clients, and what is served.

    Raises:
        Missing: no such model.
        Unavailable: the table did not answer.
    """
    view = model_view(model, store.query(model_pk(model)))
    if view is None:
        raise _unknown_model(model)
    return view


def check_model(model: str, *, store: RunStore) -> None:
    """Raise unless the model has a registered spec.

    Raises:
        Missing: no such model.
        Unavailable: the table did not answer.
    """
    if store.get(model_row_key(model)) is None:
        raise _unknown_model(model)


def check_spec(model: str, spec: str, *, store: RunStore) -> None:
    """Raise unless the spec is registered for the model.

    Raises:
        Missing: no such spec of this model.
        Unavailable: the table did not answer.
    """
    if store.get(spec_row_key(model, spec)) is None:
        raise Missing("not-found", f"model {model!r} has no spec {spec}")


def find_spec(model: str, wanted: str | None, *, store: RunStore) -> str:
    """Return the SHA-256 of the spec that is wanted, or of the model's newest.

    Raises:
        Missing: no such model, or no such spec of it.
        Unavailable: the table did not answer.
    """
    if wanted is not None:
        check_spec(model, wanted, store=store)
        return wanted
    rows = [from_item(item, SpecRow) for item in store.query(*spec_row_key(model, ""))]
    newest = choose_spec(rows, None)
    if newest is None:
        raise _unknown_model(model)
    return newest.spec


def read_spec(model: str, spec: str, *, store: RunStore, objects: ModelStore) -> bytes:
    """Return the canonical JSON of a registered spec.

    Raises:
        Missing: no such spec of this model.
        Unavailable: table or bucket did not answer.
    """
    check_spec(model, spec, store=store)
    return objects.get(spec_key(spec))


def _unknown_model(model: str) -> Missing:
    """Return the error that says so."""
    return Missing("not-found", f"there is no model {model!r}")
