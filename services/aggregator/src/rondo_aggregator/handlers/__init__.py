"""One function per event or task: load, decide, save, publish."""

__all__: list[str] = []
