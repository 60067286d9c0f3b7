"""The evaluator's variables."""

from dataclasses import dataclass

from rondo_core.settings import ServiceSettings

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """What the process needs.

    Attributes:
        sweep_seconds: pause between two looks for events that were committed but not published.
    """

    sweep_seconds: float = 5.0
