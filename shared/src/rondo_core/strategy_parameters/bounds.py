"""The types of parameters that several parts have."""

from typing import Annotated

from msgspec import Meta

__all__ = ["Attackers", "Count", "Iterations", "Positive", "Share"]

Share = Annotated[float, Meta(ge=0, lt=1)]
Positive = Annotated[float, Meta(gt=0, le=1e30)]
Count = Annotated[int, Meta(ge=1, le=10**12)]
Attackers = Annotated[int, Meta(ge=0, le=10**6)]
Iterations = Annotated[int, Meta(ge=1, le=1000)]
