"""What the handlers' ports are made of: files, a thread, a socket."""

__all__: list[str] = []
