"""One function per call of the API: load, decide, save, publish."""

__all__: list[str] = []
