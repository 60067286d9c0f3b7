"""How the clients' deltas of a column become one; one rule a file."""

__all__: list[str] = []
