"""The verdict on a version, and the changes that follow from it; values in, values out."""

__all__: list[str] = []
