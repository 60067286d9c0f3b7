"""What people start by hand: ``combine`` on files, ``replay`` of a round that is over."""

__all__: list[str] = []
