"""How updates become the next version: client weights, column rule, server optimizer."""

__all__: list[str] = []
