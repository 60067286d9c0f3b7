"""The model-store library and the vocabulary that every part of Rondo shares; it knows no service."""

__all__: list[str] = []
