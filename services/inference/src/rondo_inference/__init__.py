"""Serves promoted versions over several contracts from one core."""

__all__: list[str] = []
