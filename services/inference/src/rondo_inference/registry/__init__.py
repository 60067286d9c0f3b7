"""Which versions answer: what is loaded, how it is loaded, and who notices a promotion."""

__all__: list[str] = []
