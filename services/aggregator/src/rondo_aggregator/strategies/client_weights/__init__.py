"""How much each client counts; one rule a file."""

__all__: list[str] = []
