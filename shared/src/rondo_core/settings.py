"""Read a frozen settings dataclass from the environment.

All faults at once, each naming its variable.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from rondo_core.errors import SettingsInvalid

__all__ = [
    "AwsSettings",
    "LogLevel",
    "Port",
    "Positive",
    "Secret",
    "ServiceSettings",
    "read_settings",
]

Settings = TypeVar("Settings")

Port: TypeAlias = Annotated[int, range(65536)]
"""Of TCP; 0 is any that is free, where something listens."""

Positive: TypeAlias = Annotated[int, range(1, 2**63)]

LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


@dataclasses.dataclass(frozen=True, slots=True)
class Secret:
    """A value that never shows in a log or a traceback.

    >>> Secret("hunter2")
    ***
    """

    value: str = dataclasses.field(repr=False)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


@dataclasses.dataclass(frozen=True, kw_only=True)
class AwsSettings:
    """What every service that talks to AWS needs; credentials come from the standard AWS variables.

    Attributes:
        aws_endpoint_url: an emulator's address, or None for AWS itself.
        aws_region: region name.
        rondo_prefix: first part of the names of topic, queues, table, bucket and state machine.
    """

    aws_endpoint_url: str | None = None
    aws_region: str = "us-east-1"
    rondo_prefix: str = "rondo"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceSettings(AwsSettings):
    """What every worker process needs.

    Attributes:
        health_host: address that ``/healthz``, ``/readyz`` and ``/metrics`` listen on;
            containers set 0.0.0.0.
        health_port: its port.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    health_host: str = "127.0.0.1"
    health_port: Port = 9090
    log_level: LogLevel = "INFO"


def _flag(text: str) -> bool:
    try:
        return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
    except KeyError:
        raise ValueError("is none of 1, true, 0, false") from None


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ValueError("is not a whole number") from None
    return int(_not_negative(number))


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("is not a number") from None
    if not math.isfinite(number):
        raise ValueError("is not a finite number")
    return _not_negative(number)


def _not_negative(number: float) -> float:
    if number < 0:  # they are bytes, counts, seconds and ports, all of them
        raise ValueError("is less than 0")
    return number


_PARSERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _whole,
    float: _number,
    bool: _flag,
    Secret: Secret,
}


def _plain(kind: Any) -> Any:  # noqa: ANN401  (a type form has no better type)
    """Return X for X and for X | None."""
    if isinstance(kind, types.UnionType):
        (kind,) = [option for option in typing.get_args(kind) if option is not type(None)]
    return kind


def _parse(kind: Any, text: str) -> Any:  # noqa: ANN401  (likewise)
    """Return the value of a variable.

    Raises:
        ValueError: it has none; the text goes on where the variable and its value were named.
    """
    if typing.get_origin(kind) is Literal:
        words = typing.get_args(kind)
        if text not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return text
    if typing.get_origin(kind) is Annotated:
        kind, allowed = typing.get_args(kind)
        value = _parse(kind, text)
        if value < allowed.start:
            raise ValueError(f"is less than {allowed.start}")
        if value >= allowed.stop:
            raise ValueError(f"is more than {allowed.stop - 1}")
        return value
    return _PARSERS[kind](text)


def read_settings(kind: type[Settings], environ: Mapping[str, str]) -> Settings:
    """Build ``kind`` from variables named like its fields in capitals.

    A field without default is required.

    Args:
        kind: a frozen dataclass whose fields are str, int, float, bool, ``Secret``, a ``Literal``
            of words, an int ``Annotated`` with its range, or one of these or None. No number may be
            negative.
        environ: the variables, for example ``os.environ``; an empty value counts as absent.

    Raises:
        SettingsInvalid: lists every missing and every unreadable variable.

    >>> read_settings(AwsSettings, {"AWS_REGION": "eu-central-1"}).aws_region
    'eu-central-1'
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    kinds = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # a TypeVar cannot be bound to "a dataclass"
        variable = field.name.upper()
        text = environ.get(variable, "")
        if not text:
            if (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            ):
                faults.append(f"{variable} is missing")
            continue
        wanted = _plain(kinds[field.name])
        try:
            values[field.name] = _parse(wanted, text)
        except ValueError as exc:
            shown = "***" if wanted is Secret else repr(text)
            faults.append(f"{variable}={shown} {exc}")
    if faults:
        raise SettingsInvalid(faults)
    return kind(**values)
