"""How many bytes of requests are in memory at a time."""

from dataclasses import dataclass

from rondo_core.errors import Unavailable

__all__ = ["Budget"]


@dataclass(slots=True)
class Budget:
    """What the bodies of all requests may have together. Used by one event loop.

    Attributes:
        most: bytes.
        held: bytes that are in memory now.
    """

    most: int
    held: int = 0

    def take(self, size: int) -> bool:
        """Note ``size`` more bytes; return whether there is room for them, else nothing is noted.

        What was taken is given back by `give`.
        """
        if self.held + size > self.most:
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        """Note that so many bytes are gone."""
        self.held -= size

    def full(self) -> Unavailable:
        """Return the error of who finds no room."""
        return Unavailable(f"bodies of {self.most} bytes are being read or answered; try again")
