"""What computes a prediction: the port, a module for each runtime, and the choice between them."""

__all__: list[str] = []
