"""Load, decide, save, publish: what happens on each event, and in each sweep."""

__all__: list[str] = []
