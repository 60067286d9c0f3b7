"""Every error that Rondo raises, grouped by what the caller does next.

RondoError
├── Invalid          never retry: dead-letter the message, answer 4xx
│   ├── EventInvalid     a message that is not one of our events
│   ├── EventsRefused    events that the topic will never take (``reasons`` says which and why)
│   ├── SpecInvalid      a model spec that breaks a rule
│   ├── HeaderInvalid    a safetensors header that breaks a rule
│   ├── LayoutMismatch   arrays that are not the model's layers
│   ├── UpdateInvalid    an update that must be rejected (``code`` says which rule)
│   ├── RowInvalid       a row of a CSV or a JSON instance that does not fit the input schema
│   ├── EncodingInvalid  an encoding that does not exist, or does not fit the model
│   ├── StrategyInvalid  a strategy or a parameter that does not exist, or breaks a bound
│   ├── EmptyRound       nothing to combine, or a total weight that is not positive
│   └── SettingsInvalid  environment variables that are missing or wrong
├── NotFound         the thing named does not exist (404)
├── Conflict         already written with other content: read back and compare (409)
└── Unavailable      try again later with backoff (503)
"""

from collections.abc import Mapping, Sequence

__all__ = [
    "Conflict",
    "EmptyRound",
    "EncodingInvalid",
    "EventInvalid",
    "EventsRefused",
    "HeaderInvalid",
    "Invalid",
    "LayoutMismatch",
    "NotFound",
    "RondoError",
    "RowInvalid",
    "SettingsInvalid",
    "SpecInvalid",
    "StrategyInvalid",
    "Unavailable",
    "UpdateInvalid",
]


class RondoError(Exception):
    """Anything that Rondo raises on purpose."""


class Invalid(RondoError):
    """The input breaks a rule; the same input will break it again."""


class NotFound(RondoError):
    """The named thing does not exist."""


class Conflict(RondoError):
    """Something else is already there, or a condition of a write did not hold."""


class Unavailable(RondoError):
    """A store, bus or broker did not answer; the same call may succeed later."""


class EventInvalid(Invalid):
    """The message is not an event that we know; the text names the path and the rule."""


class EventsRefused(Invalid):
    """The topic says that it will never take these events; it took all others of the call.

    Attributes:
        reasons: id of each event -> what the topic said of it.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        said = ", ".join(f"{event_id}: {reason}" for event_id, reason in reasons.items())
        super().__init__(f"the topic refuses {said}")
        self.reasons = dict(reasons)


class SpecInvalid(Invalid):
    """The model spec breaks a rule.

    Attributes:
        path: where in the JSON document, for example ``$.layers[2].units``.
        rule: what was broken, with the value found.
    """

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f"{path}: {rule}")
        self.path = path
        self.rule = rule


class HeaderInvalid(Invalid):
    """The safetensors header breaks a rule; raised before the parser sees it where possible."""


class LayoutMismatch(Invalid):
    """The arrays are not the layers of the model.

    Attributes:
        layer: the tensor's name, ``layer/variable``.
        rule: what was broken, with the value found.
    """

    def __init__(self, layer: str, rule: str) -> None:
        super().__init__(f"{layer}: {rule}")
        self.layer = layer
        self.rule = rule


class UpdateInvalid(Invalid):
    """The update must be rejected.

    Attributes:
        code: a short stable word that a client program can branch on, for example ``not-finite``.
        rule: the sentence for a person, which names the value found.
    """

    def __init__(self, code: str, rule: str) -> None:
        super().__init__(f"{code}: {rule}")
        self.code = code
        self.rule = rule


class RowInvalid(Invalid):
    """A record does not fit the model's input schema.

    Attributes:
        row: index of the record, counted from 0.
        column: the column's name, or None where the whole record is wrong.
        rule: what was broken, with the value found.
    """

    def __init__(self, row: int, column: str | None, rule: str) -> None:
        where = f"row {row}" if column is None else f"row {row}, column {column!r}"
        super().__init__(f"{where}: {rule}")
        self.row = row
        self.column = column
        self.rule = rule


class EncodingInvalid(Invalid):
    """An encoding of updates does not exist, breaks a bound, or does not fit the model."""


class StrategyInvalid(Invalid):
    """A strategy or a parameter does not exist, breaks a bound, or does not fit the round."""


class EmptyRound(Invalid):
    """There is nothing to combine: no update, or weights whose sum is not positive."""


class SettingsInvalid(Invalid):
    """The environment does not describe a runnable service; every fault is listed at once."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)
