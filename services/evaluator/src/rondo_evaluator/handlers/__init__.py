"""One function for the one event: load, decide, save, publish."""

__all__: list[str] = []
