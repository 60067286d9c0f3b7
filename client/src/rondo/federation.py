"""A data owner's place in a federation."""

from contextlib import closing
from itertools import count
from typing import Self

from rich.console import Console

from rondo.client_calls import ClientCalls
from rondo.examples import Values
from rondo.files import locked
from rondo.history import Result
from rondo.home import Home, Identity
from rondo.progress import NoProgress, Progress, fitting_progress
from rondo.store_link import StoreLink
from rondo.trainer import Trainer, TrainerFactory
from rondo.worker import Tools, Worker
from rondo_core.clock import Clock
from rondo_core.errors import Invalid

__all__ = ["Federation"]


class Federation:
    """What `connect` returns: one enrolled client of one gateway.

    Attributes:
        identity: who this client is.
    """

    def __init__(
        self, *, identity: Identity, home: Home, calls: ClientCalls, store: StoreLink, clock: Clock
    ) -> None:
        self.identity = identity
        self._home = home
        self._calls = calls
        self._store = store
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        who = self.identity
        return f"<rondo.Federation {who.client_id} of {who.model} at {who.gateway}>"

    def close(self) -> None:
        """Close the connections; what is on disk stays."""
        self._calls.close()
        self._store.close()

    def train(
        self,
        x: Values | None = None,
        y: Values | None = None,
        *,
        trainer: Trainer | TrainerFactory | None = None,
        holdout: float = 0.2,
        seed: int = 0,
        runs: int | None = 1,
        progress: bool | Progress = True,
    ) -> Result:
        """Take part in training until the run is over.

        Blocks: it waits for the operator to start a run, trains when it is chosen for a round, and
        returns at the end. Stopping it (Ctrl-C, a kill, a power cut) loses nothing: the same call
        goes on in the same run with the same bytes.

        Args:
            x: your examples, as the model takes them: (n, columns), (n, height, width, channels),
                or rows with words, as `rondo_core.model_inputs.decode_rows` takes them. Trained
                with Keras from the run's model spec (``pip install 'rondo[keras]'``).
            y: your targets: labels of the model spec, or numbers.
            trainer: instead of ``x`` and ``y``: an object with ``evaluate`` and ``train``, or a
                function that makes one from the model spec.
            holdout: share of ``x`` and ``y`` that is only measured on.
            seed: of that choice.
            runs: how many runs to take part in; None goes on until it is stopped.
            progress: False shows nothing; an object of your own shows what it likes.

        Returns:
            The last run's end, and this client's part in it.

        Raises:
            Invalid: neither or both of data and trainer were given, or the data does not fit.
            Conflict: another program is training as this client.
            RondoError: see `Worker.take_part`.
        """
        if runs is not None and runs < 1:
            raise Invalid(f"runs {runs} is less than 1")
        make_trainer = _trainer_factory(x, y, trainer, holdout=holdout, seed=seed)
        with (
            locked(self._home.lock, f"training as {self.identity.client_id}"),
            closing(_chosen(progress)) as shown,
        ):
            worker = Worker(
                Tools(
                    home=self._home,
                    calls=self._calls,
                    store=self._store,
                    clock=self._clock,
                    progress=shown,
                ),
                make_trainer,
            )
            result = worker.take_part()
            for _ in count() if runs is None else range(runs - 1):
                result = worker.take_part()
        return result


def _trainer_factory(
    x: Values | None,
    y: Values | None,
    trainer: Trainer | TrainerFactory | None,
    *,
    holdout: float,
    seed: int,
) -> TrainerFactory:
    if trainer is None:
        if x is None or y is None:
            raise Invalid("train() needs either x and y, or a trainer")
        return _keras_factory(x, y, holdout=holdout, seed=seed)
    if x is not None or y is not None:
        raise Invalid("train() takes either x and y, or a trainer, not both")
    if isinstance(trainer, Trainer):
        return lambda _: trainer
    if callable(trainer):
        return trainer
    raise Invalid(f"{type(trainer).__name__} has not the methods evaluate and train")


def _keras_factory(x: Values, y: Values, *, holdout: float, seed: int) -> TrainerFactory:
    """Load Keras now, while nobody waits for this client: it takes seconds."""
    try:
        from rondo.keras_trainer import KerasTrainer  # noqa: PLC0415  (an extra, and slow)
    except ImportError as exc:
        raise Invalid(
            f"training from x and y needs Keras ({exc}): pip install 'rondo[keras]', "
            "or give a trainer of your own"
        ) from exc
    return lambda spec: KerasTrainer(spec, x, y, holdout=holdout, seed=seed)


def _chosen(progress: bool | Progress) -> Progress:  # noqa: FBT001  (True, False or an object)
    if isinstance(progress, bool):
        return fitting_progress(Console()) if progress else NoProgress()
    return progress
