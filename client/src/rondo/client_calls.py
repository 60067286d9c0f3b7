"""The gateway's API as a client uses it: one method per call, structs in and out."""

import msgspec

from rondo.gateway_link import GatewayLink
from rondo.history import Attempt
from rondo_core.client_wire import Declaration, Declared, Outcome, Receipt, Report, Work
from rondo_core.errors import Invalid
from rondo_core.model_spec import ModelSpec, parse_model_spec

__all__ = ["ClientCalls"]

WAIT_SECONDS = 20.0
"""How long the gateway may hold a poll; below the idle timeouts of common proxies."""


class ClientCalls:
    """All methods block, repeat themselves while the gateway is away, and may be called twice.

    They raise `GatewayError` in its families, and `Unavailable` when patience ends.
    """

    def __init__(self, link: GatewayLink) -> None:
        self._link = link

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    def spec(self, model: str, sha256: str) -> ModelSpec:
        """Return a model spec.

        Raises:
            Invalid: it is not the one that was asked for.
            SpecInvalid: it breaks a rule; perhaps the gateway is newer than this SDK.
        """
        found = self._link.get(f"/v1/models/{model}/specs/{sha256}", msgspec.Raw)
        spec = parse_model_spec(bytes(found))
        if spec.sha256 != sha256:
            raise Invalid(f"model spec {spec.sha256} came, {sha256} was asked for")
        return spec

    def work(self, *, done: str | None, run_id: str | None) -> Work:
        """Ask what to do; comes back empty after `WAIT_SECONDS` without news.

        Args:
            done: the attempt that needs no answer any more.
            run_id: the run whose end matters.
        """
        query = {"done": done, "run": run_id}
        given = {name: value for name, value in query.items() if value is not None}
        return self._link.get("/v1/work", Work, query=given, wait_seconds=WAIT_SECONDS)

    def declare(self, attempt: Attempt, declaration: Declaration) -> Declared:
        """Say what will be uploaded; the answer has a fresh link each time."""
        return self._link.send("PUT", _path(attempt, "update"), declaration, Declared)

    def report(self, attempt: Attempt, sha256: str) -> Receipt:
        """Say that the upload is done."""
        path = _path(attempt, "update/report")
        return self._link.send("POST", path, Report(sha256=sha256), Receipt)

    def receipt(self, attempt: Attempt) -> Receipt:
        """Return how the update stands, at once when it is judged, else after `WAIT_SECONDS`."""
        return self._link.get(_path(attempt, "update"), Receipt, wait_seconds=WAIT_SECONDS)

    def outcome(self, attempt: Attempt) -> Outcome:
        """Return what became of an attempt and of the update in it, at once."""
        return self._link.get(_path(attempt, "outcome"), Outcome)


def _path(attempt: Attempt, what: str) -> str:
    return f"/v1/runs/{attempt.run_id}/rounds/{attempt.round}/attempts/{attempt.attempt}/{what}"
