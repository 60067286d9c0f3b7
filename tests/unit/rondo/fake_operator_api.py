"""The operators' half of the fake gateway: models, invites, runs."""

import re
from collections.abc import Callable

import httpx
import msgspec
from click.testing import Result

from rondo_core import operator_wire, wire
from rondo_core.events import RunRequested
from rondo_core.model_spec import parse_model_spec
from rondo_core.model_store import holdout_key, weights_key
from rondo_core.testing import ManualClock
from rondo_core.weights import Layout
from tests.unit.rondo.fake_faults import Refusal
from tests.unit.rondo.fake_gateway import LINK_SECONDS, TOKEN, FakeGateway
from tests.unit.rondo.fake_rounds import Run

__all__ = ["Command", "FakeOperatorApi", "error_of"]

Command = Callable[..., Result]
"""Runs the `rondo` command with its arguments and checks the exit code (``expect``)."""


def error_of(result: Result) -> str:
    """Return the one line on stderr that says what went wrong."""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


class FakeOperatorApi(FakeGateway):
    """A gateway whose models come from operators; a run that is watched moves by itself."""

    def _routes(self) -> list[tuple[str, Callable[..., object]]]:
        model, run = r"/v1/models/(?P<model>[^/]+)", r"/v1/runs/(?P<run_id>[^/]+)"
        operators: list[tuple[str, Callable[..., object]]] = [
            (rf"POST {model}/specs", self._register),
            (rf"POST {model}/invites", self._invite),
            (rf"GET {model}", self._model),
            (r"GET /v1/models", self._models),
            (r"POST /v1/runs", self._start),
            (r"GET /v1/runs", self._runs),
            (rf"GET {run}", self._run),
        ]
        return [*super()._routes(), *((path, self._guarded(door)) for path, door in operators)]

    def _guarded(self, door: Callable[..., object]) -> Callable[..., object]:
        def guarded(request: httpx.Request, **names: str) -> object:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refusal(401, "operator-token-invalid", "not the operators' token")
            return door(request, **names)

        return guarded

    def _register(self, request: httpx.Request, *, model: str) -> operator_wire.SpecRegistered:
        body = msgspec.json.decode(request.content, type=operator_wire.SpecRegistration)
        spec = parse_model_spec(msgspec.json.encode(body.spec))
        assert spec.model == model
        layout = Layout.from_header(body.header.encode())
        assert body.initial.size == layout.size_bytes
        self.spec, self.layout = spec, layout
        return operator_wire.SpecRegistered(
            spec=spec.sha256,
            initial=self._missing(weights_key(body.initial.sha256), body.initial),
            holdout=self._missing(holdout_key(body.holdout.sha256), body.holdout),
        )

    def _missing(self, key: str, claim: operator_wire.FileClaim) -> wire.Upload | None:
        if self.store.head(key) is not None:
            return None
        link = self.links.for_upload(
            key, size=claim.size, sha256=claim.sha256, expires_seconds=LINK_SECONDS
        )
        return wire.Upload(url=link.url, headers=dict(link.headers))

    def _invite(self, request: httpx.Request, *, model: str) -> operator_wire.Invites:
        body = msgspec.json.decode(request.content, type=operator_wire.InvitesWanted)
        codes = [f"{model}.secret-{number}" for number in range(body.count)]
        self.invites.update(dict.fromkeys(codes, body.uses))
        return operator_wire.Invites(model=model, codes=codes, expires_at=self.clock.now())

    def _model(self, _: httpx.Request, *, model: str) -> operator_wire.ModelView:
        if model != self.spec.model:
            raise Refusal(404, "not-found", f"there is no model {model!r}")
        finished = any(run.state == "FINISHED" for run in self.runs.values())
        view = operator_wire.ModelView(
            model=model, specs=[self.spec.sha256], clients=sorted(self.keys)
        )
        if not finished:
            return view
        return msgspec.structs.replace(
            view, champion=1, champion_run="run-1", champion_version=3, metrics={"loss": 0.25}
        )

    def _models(self, request: httpx.Request) -> list[operator_wire.ModelView]:
        return [self._model(request, model=self.spec.model)]

    def _start(self, request: httpx.Request) -> operator_wire.RunStarted:
        body = msgspec.json.decode(request.content)
        event = msgspec.convert(
            {**body, "event_id": "e", "occurred_at": self.clock.now()}, RunRequested
        )
        if event.model != self.spec.model:
            raise Refusal(404, "not-found", f"there is no model {event.model!r}")
        if event.run_id not in self.runs:
            self.start_run(event.rounds, event.run_id, **event.training)
        return operator_wire.RunStarted(run_id=event.run_id)

    def _runs(self, _: httpx.Request) -> list[operator_wire.RunView]:
        return [
            msgspec.structs.replace(self._view(run), attempts=[], versions=[])
            for run in self.runs.values()
        ]

    def _run(self, _: httpx.Request, *, run_id: str) -> operator_wire.RunView:
        """Show a run; nobody trains here, so every second look finds one round more."""
        if run_id not in self.runs:
            raise Refusal(404, "not-found", f"there is no run {run_id!r}")
        run = self.runs[run_id]
        looks = self.count(rf"GET /v1/runs/{re.escape(run_id)}")
        if looks % 2 == 0 and run.state == "RUNNING":
            run.curve = {"loss": 1.0 / run.where[0]}
            self.seal(run)
        return self._view(run)

    def _view(self, run: Run) -> operator_wire.RunView:
        now = ManualClock().now()
        versions = [
            operator_wire.VersionView(
                version=number,
                sha256="0" * 64,
                updates=2 if number else 0,
                examples=80 if number else 0,
                metrics={"loss": 1.0 / number} if number else {},
                committed_at=now,
            )
            for number in range(len(run.versions))
        ]
        attempt = operator_wire.RoundView(
            round=run.where[0],
            attempt=run.where[1],
            state="OPEN" if run.state == "RUNNING" else "COMMITTED",
            updates={"ACCEPTED": 1},
        )
        return operator_wire.RunView(
            run_id=run.run_id,
            model=self.spec.model,
            spec=self.spec.sha256,
            strategy="fedavg",
            state=run.state,
            reason=run.reason,
            rounds=run.rounds,
            target=2,
            quorum=1,
            head=len(run.versions) - 1,
            requested_at=now,
            attempts=[attempt] if len(versions) > 1 else [],
            versions=versions,
        )
