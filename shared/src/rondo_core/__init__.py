"""The model-store library and the vocabulary of Rondo; it knows no service."""

__all__: list[str] = []
