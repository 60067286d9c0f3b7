"""HTTP: the ASGI application that runs the contracts' routes, and the server that drains."""

__all__: list[str] = []
