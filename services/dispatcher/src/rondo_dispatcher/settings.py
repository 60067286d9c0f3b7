"""What the dispatcher reads from its environment."""

from dataclasses import dataclass

from rondo_core.settings import ServiceSettings

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Variables of the dispatcher, beside those of every worker.

    Attributes:
        sweep_seconds: pause between two sweeps; what a lost event delays a round by.
    """

    sweep_seconds: float = 1.0
