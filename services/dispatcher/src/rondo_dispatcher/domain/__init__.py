"""What comes next in a round, as pure functions: rows in, changes and events out."""

__all__: list[str] = []
