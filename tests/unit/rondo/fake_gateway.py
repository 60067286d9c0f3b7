"""A gateway, a store and what stands behind them, in memory and one thread, as an HTTPX transport.

It speaks `rondo_core.wire`, checks tokens, links and updates as the real ones do, and runs rounds
by itself: when all clients of a round are judged it commits the mean of what was accepted, or
opens a second attempt. Faults are asked for by "METHOD path". The same behaviours are run
against the real gateway in `tests/integration/test_sdk_gateway.py`.
"""

import re
from collections.abc import Callable
from datetime import timedelta

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rondo import Federation
from rondo.submission import LINKS
from rondo_core import client_wire, wire
from rondo_core.model_spec import ModelSpec, encode_model_spec
from rondo_core.model_store import slot_key, update_key, weights_key
from rondo_core.testing import ManualClock, MemoryModelStore, MemoryUploadLinks
from rondo_core.weights import Float32Array, digest, encode
from tests.unit.rondo.fake_faults import FaultyTransport, Refusal, Stopped, stop
from tests.unit.rondo.fake_rounds import FakeRounds, Round, Run

__all__ = ["TOKEN", "UPLOAD", "URL", "Connect", "FakeGateway", "Stopped", "stop"]

URL = "http://gateway.test"
TOKEN = "operators-only"
LINK_SECONDS = 900
UPLOAD = "PUT /models/updates/"

Connect = Callable[[], Federation]


class FakeGateway(FakeRounds, FaultyTransport):
    """One model, as many runs as are started, one or more clients that take turns.

    Attributes:
        updates: the bytes of every update that was stored, oldest first.
        late: rounds that are sealed when the first client declares for them.
    """

    def __init__(self, spec: ModelSpec, clock: ManualClock) -> None:
        FakeRounds.__init__(self, spec, MemoryModelStore())
        FaultyTransport.__init__(self, clock)
        self.links = MemoryUploadLinks(self.store, clock)
        self.invites = {f"{spec.model}.first-invite": 1}
        self.keys: dict[str, bytes] = {}
        self.updates: list[bytes] = []
        self.late: set[int] = set()
        self.corrupt = False
        self._idle_polls = 0

    def _serve(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "store.test":
            return self._object(request)
        line = f"{request.method} {request.url.path}"
        try:
            for pattern, handler in self._routes():
                if match := re.fullmatch(pattern, line):
                    answer = handler(request, **match.groupdict())
                    body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
                    return httpx.Response(200, content=body)
        except Refusal as exc:
            return exc.response()
        return Refusal(404, "not-found", f"no route {line}").response()

    def _routes(self) -> list[tuple[str, Callable[..., object]]]:
        attempt = r"/v1/runs/(?P<run_id>[^/]+)/rounds/(?P<number>\d+)/attempts/(?P<attempt>\d+)"
        update = f"{attempt}/update"
        return [
            (r"POST /v1/enrolments", self._enrol),
            (r"GET /v1/work", self._work),
            (r"GET /v1/models/(?P<model>[^/]+)/specs/(?P<spec>[^/]+)", self._spec),
            (rf"PUT {update}", self._declare),
            (rf"POST {update}/report", self._report),
            (rf"GET {update}", self._verdict),
            (rf"GET {attempt}/outcome", self._outcome),
        ]

    def _object(self, request: httpx.Request) -> httpx.Response:
        assert "Authorization" not in request.headers, "the store must not see a token"
        url = str(request.url)
        if request.method == "PUT":
            status = self.links.put(url, request.headers, request.content)
            if status == 200:
                self.updates.append(request.content)
            return httpx.Response(status)
        status, data = self.links.get(url)
        return httpx.Response(status, content=bytes(len(data)) if self.corrupt else data)

    def _caller(self, request: httpx.Request) -> str:
        """Verify the client's token, as `rondo_gateway.domain.tokens` does."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        claims = jwt.decode(token, options={"verify_signature": False})
        if claims["sub"] not in self.keys:
            raise Refusal(401, "client-unknown", f"{claims['sub']} is not enrolled")
        key = Ed25519PublicKey.from_public_bytes(self.keys[claims["sub"]])
        options: jwt.types.Options = {"verify_exp": False, "verify_iat": False}
        jwt.decode(token, key, algorithms=["EdDSA"], audience=client_wire.AUDIENCE, options=options)
        assert claims["exp"] - claims["iat"] <= client_wire.MAX_TOKEN_SECONDS
        if not claims["iat"] - 10 <= self.clock.now().timestamp() <= claims["exp"] + 10:
            raise Refusal(401, "token-expired", "the token's time is over")
        return str(claims["sub"])

    def refuse_links(self, then: Callable[[], None], times: int = LINKS) -> None:
        """Refuse as many uploads' links; what comes ``then`` happens before the last answer."""

        def last(_: httpx.Request) -> httpx.Response:
            then()
            return httpx.Response(403)

        self.fault(UPLOAD, lambda _: httpx.Response(403), times=times - 1)
        self.fault(UPLOAD, last)

    # --- enrolment and work ----------------------------------------------------------------------

    def _enrol(self, request: httpx.Request) -> client_wire.Enrolled:
        body = msgspec.json.decode(request.content, type=client_wire.Enrolment)
        client = f"{body.name}-{digest(body.public_key)[:8]}"
        if self.keys.get(client) != body.public_key:
            if body.invite not in self.invites:
                raise Refusal(404, "invite-unknown", "nobody knows this invite")
            if self.invites[body.invite] == 0:
                raise Refusal(403, "invite-used-up", "the invite was used as often as it may be")
            self.invites[body.invite] -= 1
            self.keys[client] = body.public_key
        return client_wire.Enrolled(client_id=client, model=body.invite.rpartition(".")[0])

    def _spec(self, request: httpx.Request, *, model: str, spec: str) -> bytes:
        self._caller(request)
        if (model, spec) != (self.spec.model, self.spec.sha256):
            raise Refusal(404, "not-found", f"model {model!r} has no spec {spec}")
        return encode_model_spec(self.spec)

    def _work(self, request: httpx.Request) -> client_wire.Work:
        client, query = self._caller(request), request.url.params
        self.judge_all()
        mine = self.runs.get(query.get("run", ""))
        if mine is not None and mine.state != "RUNNING":
            return client_wire.Work(run_state=mine.state, reason=mine.reason)
        for run in self.runs.values():
            run.clients = run.clients or tuple(self.keys)
            reported = run.attempts[run.where].receipts.get(client)
            name = f"{run.run_id}/{run.where[0]}/{run.where[1]}"
            waits = reported is None or reported.state == "DECLARED"
            if run.state == "RUNNING" and waits and name != query.get("done"):
                self._idle_polls = 0
                return client_wire.Work(assignment=self._assignment(run))
        self._idle_polls += 1
        assert self._idle_polls < 20, "a client waits for something that never comes"
        self.clock.advance(float(query["wait"]))
        return client_wire.Work()

    def _assignment(self, run: Run) -> client_wire.Assignment:
        round_, attempt = run.where
        return client_wire.Assignment(
            run_id=run.run_id,
            round=round_,
            attempt=attempt,
            rounds=run.rounds,
            model=self.spec.model,
            spec=self.spec.sha256,
            layout=self.layout.digest,
            base=self._file(run, run.versions[-1], weights_key),
            seed=round_,
            training=run.training,
            deadline_at=self.clock.now() + timedelta(seconds=600),
            metrics=run.curve,
            needs_steps=run.needs_steps,
            encoding=run.encoding,
            controlled=run.population > 0,
            control=self._file(run, run.controls[-1], slot_key)
            if run.population and round_ > 1
            else None,
        )

    def _file(
        self, run: Run, columns: Float32Array, key: Callable[[str], str]
    ) -> client_wire.BaseVersion:
        data = encode(self.layout, columns)
        self.store.put(key(digest(data)), data)
        url = self.links.for_download(key(digest(data)), expires_seconds=LINK_SECONDS)
        return client_wire.BaseVersion(
            version=run.where[0] - 1, sha256=digest(data), size=len(data), url=url
        )

    # --- updates ---------------------------------------------------------------------------------

    def _attempt(self, run_id: str, number: str, attempt: str) -> Round:
        run, where = self.runs.get(run_id), (int(number), int(attempt))
        if run is None or where not in run.attempts:
            raise Refusal(404, "not-found", f"there is no attempt {run_id}/{number}/{attempt}")
        if where[0] in self.late and where == run.where:
            self.seal(run)
        return run.attempts[where]

    def _declare(
        self, request: httpx.Request, *, run_id: str, number: str, attempt: str
    ) -> client_wire.Declared:
        client, round_ = self._caller(request), self._attempt(run_id, number, attempt)
        body = msgspec.json.decode(request.content, type=client_wire.Declaration)
        if body.steps is None and self.runs[run_id].needs_steps:
            raise Refusal(422, "missing-steps", "the strategy needs the number of local steps")
        receipt = round_.receipts.get(client)
        if receipt is None or receipt.state == "DECLARED":
            if not round_.open:
                raise Refusal(409, "late", f"round {number} takes no more updates")
            receipt = client_wire.Receipt(
                client_id=client,
                run_id=run_id,
                round=int(number),
                attempt=int(attempt),
                sha256=body.sha256,
                state="DECLARED",
            )
            round_.receipts[client], round_.declared[client] = receipt, body
        elif receipt.sha256 != body.sha256:
            raise Refusal(409, "already-reported", f"{receipt.sha256} was reported")
        key = update_key(run_id, int(number), int(attempt), client, body.sha256)
        link = self.links.for_upload(
            key, size=body.size, sha256=body.sha256, expires_seconds=LINK_SECONDS
        )
        upload = wire.Upload(url=link.url, headers=dict(link.headers))
        return client_wire.Declared(upload=upload, receipt=receipt)

    def _report(
        self, request: httpx.Request, *, run_id: str, number: str, attempt: str
    ) -> client_wire.Receipt:
        client, round_ = self._caller(request), self._attempt(run_id, number, attempt)
        body = msgspec.json.decode(request.content, type=client_wire.Report)
        receipt = round_.receipts[client]
        assert receipt.sha256 == body.sha256
        if receipt.state == "DECLARED":
            if not round_.open:
                raise Refusal(409, "late", f"round {number} takes no more updates")
            receipt = msgspec.structs.replace(receipt, state="REPORTED")
            round_.receipts[client] = receipt
        return receipt

    def _verdict(
        self, request: httpx.Request, *, run_id: str, number: str, attempt: str
    ) -> client_wire.Receipt:
        client, round_ = self._caller(request), self._attempt(run_id, number, attempt)
        self.judge_all()
        if client not in round_.receipts:
            raise Refusal(404, "not-declared", "no update was declared")
        return round_.receipts[client]

    def _outcome(
        self, request: httpx.Request, *, run_id: str, number: str, attempt: str
    ) -> client_wire.Outcome:
        client, round_ = self._caller(request), self._attempt(run_id, number, attempt)
        receipt = round_.receipts.get(client)
        return client_wire.Outcome(
            round_state="OPEN" if round_.open else "COMMITTED" if round_.committed else "ABORTED",
            update_state=None if receipt is None else receipt.state,
        )
