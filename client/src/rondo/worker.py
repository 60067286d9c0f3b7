"""A client's part in a run: measure, train, submit, hear the verdict, round by round.

Whatever is worth keeping is on disk before anybody is told of it, so a program that is killed at
any point goes on where it was: with the same bytes, and without training again.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rondo.client_calls import ClientCalls
from rondo.contract import checked_examples, checked_metrics, checked_steps
from rondo.controls import Controls, Correction
from rondo.encoded import Encoded, encoded
from rondo.errors import LinkRefused, Refused
from rondo.history import Attempt, Journal, Result, RoundResult
from rondo.home import Home, plain_name
from rondo.kept_vectors import KeptVectors
from rondo.progress import Progress
from rondo.store_link import StoreLink
from rondo.submission import LINKS, Outcome, submit
from rondo.trainer import RoundTask, Trained, Trainer, TrainerFactory
from rondo.updates import Base, Pending, drop_update, drop_updates, load_update, save_update
from rondo_core.client_wire import Assignment, BaseVersion, Work
from rondo_core.clock import Clock
from rondo_core.encodings import form_of
from rondo_core.encodings.names import TOP_K
from rondo_core.errors import Invalid
from rondo_core.weights import sha256_file

__all__ = ["Tools", "Worker"]

IDLE_SECONDS = 0.2
"""Pause after a poll without news; a gateway that is stopping may answer at once, and often."""
OVER = frozenset({"FINISHED", "FAILED", "CANCELLED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a worker works with."""

    home: Home
    calls: ClientCalls
    store: StoreLink
    clock: Clock
    progress: Progress


class Worker:
    """Takes part in one run after the other; one at a time for each home.

    Args:
        tools: the client's doors to the world.
        make_trainer: called when a model spec is met for the first time.
    """

    def __init__(self, tools: Tools, make_trainer: TrainerFactory) -> None:
        self._tools = tools
        self._make_trainer = make_trainer
        self._trainer: tuple[str, Trainer] | None = None
        self._journal = Journal.load(tools.home.progress)
        self._controls = Controls(tools.home.controls)
        self._residuals = KeptVectors(tools.home.residuals)

    def take_part(self) -> Result:
        """Do every round of one run that this client is chosen for; returns when the run is over.

        A run that this client was in when it was stopped is gone on with. Otherwise it waits for
        the next assignment, however long that takes.

        Raises:
            GatewayError: the gateway refuses this client or its requests.
            Unavailable: it was away for longer than patience lasts.
            LayoutMismatch: the trainer gave other tensors than it was given.
            Invalid: a base version is not what was promised, or the trainer breaks its contract.
        """
        tools, links_refused = self._tools, 0
        tools.progress.show(self._journal.rounds, "waiting for a round")
        while True:
            try:
                if self._finish_what_was_begun():
                    links_refused = 0
                work = self._poll()
                if work.run_state in OVER:
                    return self._end(work)
                assignment, settled = work.assignment, self._journal.settled
                if assignment is None or Attempt.of(assignment).name in settled:
                    tools.clock.sleep(IDLE_SECONDS)
                    continue
                self._play(assignment)
                links_refused = 0
            except LinkRefused:  # the next try brings a fresh one
                links_refused += 1
                if links_refused == LINKS:
                    raise

    def _finish_what_was_begun(self) -> bool:
        """Hand in what was made and is not settled; the gateway may not offer that round again.

        An earlier program left it, or the store refused its links. Work is asked for only then:
        where late updates are taken, this one may turn out to be the next round's.

        Returns:
            Whether there was any.
        """
        folders, settled = sorted(self._tools.home.updates.glob("*")), self._journal.settled
        left = [found for one in folders if (found := load_update(one, settled=settled))]
        for pending, file in left:
            try:
                self._hand_in(pending, file)
            except Refused as exc:  # the same bytes would be refused every time
                self._settle(pending, Outcome("rejected", str(exc)))
                drop_update(file.parent)
            self._tools.progress.show(self._journal.rounds, "waiting for a round")
        return bool(left)

    def _poll(self) -> Work:
        done = self._journal.settled[-1] if self._journal.settled else None
        return self._tools.calls.work(done=done, run_id=self._journal.run_id)

    def _end(self, work: Work) -> Result:
        run_id, state = self._journal.run_id, work.run_state
        if run_id is None or state is None:
            raise Invalid("the gateway speaks of the end of a run that it was not asked about")
        rounds = tuple(entry for entry in self._journal.rounds if entry.run_id == run_id)
        result = Result(run_id=run_id, state=state, reason=work.reason, rounds=rounds)
        self._remember(Journal(settled=self._journal.settled[-1:]))
        drop_updates(self._tools.home.updates)
        self._controls.drop(run_id)
        self._residuals.drop(run_id)
        self._tools.progress.over(result)
        return result

    def _remember(self, journal: Journal) -> None:
        journal.save(self._tools.home.progress)
        self._journal = journal

    def _play(self, assignment: Assignment) -> None:
        """Do one round: make the update, and hand it in. Those before it are settled."""
        updates = self._tools.home.updates
        name = plain_name("run", assignment.run_id)
        folder = updates / f"{name}-{assignment.round:06d}-{assignment.attempt:02d}"
        self._remember(self._journal.begun(assignment))
        drop_updates(updates)
        pending, file = self._make_update(assignment, folder)
        self._show(assignment, "handing in")
        self._hand_in(pending, file)
        last = assignment.round == assignment.rounds
        self._show(assignment, "waiting for the run's end" if last else "waiting for the next")

    def _hand_in(self, pending: Pending, file: Path) -> None:
        calls, store, clock = self._tools.calls, self._tools.store, self._tools.clock
        self._settle(pending, submit(pending, file, calls=calls, store=store, clock=clock))

    def _settle(self, pending: Pending, outcome: Outcome) -> None:
        attempt, made = pending.attempt, pending.declaration
        entry = RoundResult(
            run_id=attempt.run_id,
            round=attempt.round,
            attempt=attempt.attempt,
            verdict=outcome.verdict,
            reason=outcome.reason,
            metrics=made.metrics,
            examples=made.examples,
            seconds=pending.seconds,
            entered=outcome.entered,
        )
        self._remember(self._journal.with_round(entry))

    def _make_update(self, assignment: Assignment, folder: Path) -> tuple[Pending, Path]:
        tools = self._tools
        self._show(assignment, "downloading")
        base = self._read(assignment, assignment.base, tools.home.versions)
        correction = self._correction(assignment, base) if assignment.controlled else None
        trainer = self._trainer_for(assignment)
        start = tools.clock.monotonic()
        self._show(assignment, "measuring")
        metrics = checked_metrics(trainer.evaluate(base.weights))
        self._show(assignment, "training")
        trained = Trained(*trainer.train(base.weights, _task(assignment, base, correction)))
        examples = checked_examples(trained.examples)
        needed = assignment.needs_steps or assignment.controlled
        steps = checked_steps(trained.steps, needed=needed)
        attempt, update = Attempt.of(assignment), self._encoded(assignment, base, trained)
        if correction is not None and steps is not None:
            variate = correction.after(update.delta, steps)
            self._controls.save(attempt, base.layout, variate)
        return save_update(
            folder,
            update.data,
            attempt=attempt,
            examples=examples,
            steps=steps,
            metrics=metrics,
            seconds=tools.clock.monotonic() - start,
        )

    def _encoded(self, assignment: Assignment, base: Base, trained: Trained) -> Encoded:
        """Write the delta as the run asks; what top-k leaves out is kept for the next round."""
        form, attempt = form_of(base.layout, assignment.encoding), Attempt.of(assignment)
        delta, seed = base.delta(trained.weights), (assignment.seed, assignment.attempt)
        if form.name != TOP_K:
            return encoded(form, delta, seed)
        before = self._residuals.load(attempt, base.layout, counted=self._counted)
        update = encoded(form, delta, seed, before)
        self._residuals.save(attempt, base.layout, update.left)
        return update

    def _counted(self, attempt: Attempt) -> bool | None:
        return self._tools.calls.outcome(attempt).counted

    def _correction(self, assignment: Assignment, base: Base) -> Correction:
        """Return the control variates that the round starts with; both begin as zeros."""
        attempt, server = Attempt.of(assignment), np.zeros_like(base.flat)
        if assignment.control is not None:
            server = self._read(assignment, assignment.control, self._controls.server).flat
        own = self._controls.load(attempt, base.layout, counted=self._counted)
        return Correction(own, server)

    def _read(self, assignment: Assignment, file: BaseVersion, folder: Path) -> Base:
        """Read a file of the round; the newest one stays on disk for a second attempt."""
        path = folder / f"{plain_name('version', file.sha256)}.safetensors"
        if not path.exists() or sha256_file(path) != file.sha256:
            self._tools.store.download(file.url, path, size=file.size, sha256=file.sha256)
        for other in folder.glob("*.safetensors"):
            if other != path:
                other.unlink()
        return Base.read(path, assignment.layout)

    def _trainer_for(self, assignment: Assignment) -> Trainer:
        if self._trainer is None or self._trainer[0] != assignment.spec:
            spec = self._tools.calls.spec(assignment.model, assignment.spec)
            self._trainer = assignment.spec, self._make_trainer(spec)
        return self._trainer[1]

    def _show(self, assignment: Assignment, stage: str) -> None:
        where = f"round {assignment.round} of {assignment.rounds}: {stage}"
        self._tools.progress.show(self._journal.rounds, where, assignment.rounds)


def _task(assignment: Assignment, base: Base, correction: Correction | None) -> RoundTask:
    return RoundTask(
        run_id=assignment.run_id,
        round=assignment.round,
        rounds=assignment.rounds,
        seed=assignment.seed,
        training=assignment.training,
        drift=None if correction is None else base.layout.to_arrays(correction.drift),
    )
