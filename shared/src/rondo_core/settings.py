"""Read a frozen settings dataclass from the environment.

All faults at once, each naming its variable.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rondo_core.errors import SettingsInvalid

__all__ = ["AwsSettings", "Secret", "ServiceSettings", "read_settings"]

Settings = TypeVar("Settings")


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
    health_port: int = 9090
    log_level: str = "INFO"


def _flag(text: str) -> bool:
    try:
        return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
    except KeyError:
        raise ValueError("is none of 1, true, 0, false") from None


_PARSERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: _flag,
    Secret: Secret,
}


def _plain(kind: Any) -> Any:  # noqa: ANN401  (a type form has no better type)
    """Return X for X and for X | None."""
    if isinstance(kind, types.UnionType):
        (kind,) = [option for option in typing.get_args(kind) if option is not type(None)]
    return kind


def read_settings(kind: type[Settings], environ: Mapping[str, str]) -> Settings:
    """Build ``kind`` from variables named like its fields in capitals.

    A field without default is required.

    Args:
        kind: a frozen dataclass whose fields are str, int, float, bool, ``Secret``, or one of
            these or None.
        environ: the variables, for example ``os.environ``; an empty value counts as absent.

    Raises:
        SettingsInvalid: lists every missing and every unreadable variable.

    >>> read_settings(AwsSettings, {"AWS_REGION": "eu-central-1"}).aws_region
    'eu-central-1'
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    kinds = typing.get_type_hints(kind)
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
            values[field.name] = _PARSERS[wanted](text)
        except ValueError as exc:
            shown = "***" if wanted is Secret else repr(text)
            faults.append(f"{variable}={shown} is not {wanted.__name__}: {exc}")
    if faults:
        raise SettingsInvalid(faults)
    return kind(**values)
