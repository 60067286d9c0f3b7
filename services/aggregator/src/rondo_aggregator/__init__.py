"""The result of a round: validates updates, combines them by columns, commits the version."""

__all__: list[str] = []
