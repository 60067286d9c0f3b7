"""What an operator does: register models, invite clients, start runs and watch them."""

from collections.abc import Iterator, Mapping
from datetime import UTC
from pathlib import Path
from typing import Self, Unpack
from uuid import uuid4

import httpx
import msgspec

from rondo.errors import Missing
from rondo.examples import Values, encode_examples
from rondo.gateway_link import GatewayLink, checked_url, open_http
from rondo.home import plain_name
from rondo.retry import Patience
from rondo.run_options import RunOptions
from rondo.store_link import StoreLink
from rondo_core.clock import Clock, SystemClock
from rondo_core.errors import Invalid
from rondo_core.events import RunRequested
from rondo_core.faults import read_fault
from rondo_core.holdout import encode_holdout
from rondo_core.initial_weights import initial_weights, layout_of_spec
from rondo_core.model_spec import ModelSpec, encode_model_spec, parse_model_spec
from rondo_core.operator_wire import (
    FileClaim,
    Invites,
    InvitesWanted,
    ModelView,
    RunStarted,
    RunView,
    SpecRegistered,
    SpecRegistration,
)
from rondo_core.run_check import run_fault
from rondo_core.weights import digest, encode
from rondo_core.wire import Upload

__all__ = ["OVER", "Operator"]

OVER = frozenset({"FINISHED", "FAILED", "CANCELLED"})


class Operator:
    """An operator of one gateway.

    Args:
        url: the gateway's address.
        token: the operators' bearer token.
        transport: stands in for the network, as in HTTPX.
        clock: stands in for the time.

    Raises:
        Invalid: the URL is not one.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        patience = Patience(clock=self._clock)
        http = open_http(checked_url(url), transport)
        self._gateway = GatewayLink(http, patience, lambda _: token)
        self._store = StoreLink(open_http(transport=transport), patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._gateway.close()
        self._store.close()

    def register_model(
        self,
        spec: ModelSpec | Mapping[str, object] | Path | str,
        x_holdout: Values,
        y_holdout: Values,
    ) -> str:
        """Register a model spec with its initial weights and the examples that judge versions.

        Safe to call twice: the same spec and holdout are the same registration.

        Args:
            spec: the document, or the path of its JSON file.
            x_holdout: examples, as `Federation.train` takes them.
            y_holdout: their targets.

        Returns:
            The model spec's SHA-256.

        Raises:
            SpecInvalid: the spec breaks a rule; names path, value and rule.
            Invalid: the holdout does not fit the spec.
        """
        parsed = _read_spec(spec)
        layout = layout_of_spec(parsed)
        initial = encode(layout, initial_weights(parsed))
        holdout = encode_holdout(*encode_examples(parsed, x_holdout, y_holdout))
        body = SpecRegistration(
            spec=msgspec.to_builtins(parsed),
            header=layout.header.decode(),
            initial=_claim(initial),
            holdout=_claim(holdout),
        )
        path = f"/v1/models/{parsed.model}/specs"
        answer = self._gateway.send("POST", path, body, SpecRegistered)
        self._upload(initial, answer.initial)
        self._upload(holdout, answer.holdout)
        return answer.spec

    def invites(
        self, model: str, count: int = 1, *, uses: int = 1, expires_seconds: int = 604_800
    ) -> list[str]:
        """Return new invite codes for a model; nobody can show them again.

        Args:
            model: its name.
            count: how many codes.
            uses: how many clients may join with each.
            expires_seconds: after this long a code is worth nothing.
        """
        body = InvitesWanted(count=count, uses=uses, expires_seconds=expires_seconds)
        path = f"/v1/models/{plain_name('model', model)}/invites"
        return self._gateway.send("POST", path, body, Invites).codes

    def start_run(self, model: str, **options: Unpack[RunOptions]) -> str:
        """Ask for a run and return its id; whether it can run shows in its state.

        Raises:
            Invalid: such a run cannot be done; named before anything is sent.
            Refused: an option breaks a rule that only the gateway can see.
            Missing: there is no such model.
        """
        body = {"model": model, **options}
        body.setdefault("run_id", self._new_run_id(model))
        self._check_run(body)
        return self._gateway.send("POST", "/v1/runs", body, RunStarted).run_id

    def runs(self) -> list[RunView]:
        """Return all runs, without their rounds and versions."""
        return self._gateway.get("/v1/runs", list[RunView])

    def run(self, run_id: str) -> RunView:
        """Return one run with its rounds and versions.

        Raises:
            Missing: there is no such run.
        """
        return self._gateway.get(f"/v1/runs/{plain_name('run', run_id)}", RunView)

    def watch(
        self, run_id: str, *, poll_seconds: float = 1.0, appear_seconds: float = 15.0
    ) -> Iterator[RunView]:
        """Give the run whenever something about it has changed, until it is over.

        Args:
            run_id: the run.
            poll_seconds: between two looks.
            appear_seconds: how long a run may take to begin after it was asked for.

        Raises:
            Missing: there is no such run, and none has appeared.
        """
        last: RunView | None = None
        appear_by = self._clock.monotonic() + appear_seconds
        while last is None or last.state not in OVER:
            try:
                view = self.run(run_id)
            except Missing:
                if last is not None or self._clock.monotonic() >= appear_by:
                    raise
                self._clock.sleep(poll_seconds)
                continue
            if view != last:
                yield view
                last = view
            else:
                self._clock.sleep(poll_seconds)

    def models(self) -> list[ModelView]:
        """Return all models."""
        return self._gateway.get("/v1/models", list[ModelView])

    def model(self, model: str) -> ModelView:
        """Return one model.

        Raises:
            Missing: there is no such model.
        """
        return self._gateway.get(f"/v1/models/{plain_name('model', model)}", ModelView)

    def _upload(self, data: bytes, link: Upload | None) -> None:
        if link is not None:
            self._store.upload(data, link)

    def _check_run(self, body: Mapping[str, object]) -> None:
        fields = {**body, "event_id": "not sent", "occurred_at": self._clock.now()}
        try:
            fault = run_fault(msgspec.convert(fields, RunRequested))
        except msgspec.ValidationError as exc:
            fault = str(read_fault(exc, fields))
        if fault is not None:
            raise Invalid(fault)

    def _new_run_id(self, model: str) -> str:
        """Name the run here: should the answer be lost, the same request again is the same run."""
        time = self._clock.now().astimezone(UTC)
        return f"{model[:32]}-{time:%Y%m%d-%H%M%S}-{uuid4().hex[:6]}"


def _read_spec(spec: ModelSpec | Mapping[str, object] | Path | str) -> ModelSpec:
    match spec:
        case ModelSpec():
            return parse_model_spec(encode_model_spec(spec))
        case Mapping():
            return parse_model_spec(msgspec.json.encode(spec))
        case _:
            return parse_model_spec(Path(spec).read_bytes())


def _claim(data: bytes) -> FileClaim:
    return FileClaim(sha256=digest(data), size=len(data))
