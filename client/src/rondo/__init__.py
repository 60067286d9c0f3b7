"""The SDK of Rondo: join a federation, train on data that never leaves, and run models.

A data owner's whole program::

    import rondo

    federation = rondo.connect("https://…", invite="digits.…", name="hospital-a")
    result = federation.train(x, y)  # or train(trainer=my_trainer)

An operator's::

    operator = rondo.Operator("https://…", token)
    operator.register_model("digits.json", x_holdout, y_holdout)
    run = operator.start_run("digits", rounds=10, target=3)
"""

from rondo.enrolment import connect
from rondo.errors import GatewayError, Unauthorized
from rondo.federation import Federation
from rondo.history import Result, RoundResult
from rondo.numpy_trainer import NumpyTrainer
from rondo.operator import Operator
from rondo.trainer import RoundTask, Trained, Trainer
from rondo_core.errors import Conflict, Invalid, NotFound, RondoError, Unavailable

__all__ = [
    "Conflict",
    "Federation",
    "GatewayError",
    "Invalid",
    "NotFound",
    "NumpyTrainer",
    "Operator",
    "Result",
    "RondoError",
    "RoundResult",
    "RoundTask",
    "Trained",
    "Trainer",
    "Unauthorized",
    "Unavailable",
    "connect",
]
