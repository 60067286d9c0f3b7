"""The demo: four data owners learn handwritten digits together, and the result is served."""

__all__: list[str] = []
