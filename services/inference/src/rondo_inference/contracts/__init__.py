"""The doors: each module is one wire contract, a table of routes over the same core."""

__all__: list[str] = []
