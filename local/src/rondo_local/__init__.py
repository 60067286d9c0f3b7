"""The whole system on one machine without Docker: emulator, Redis and the services as processes."""

__all__: list[str] = []
