"""How the combined delta moves the server's model; one rule a file."""

__all__: list[str] = []
