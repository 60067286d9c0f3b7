"""What goes out on a connection, and whether the caller takes it."""

import asyncio
import struct
import termios
from fcntl import ioctl

__all__ = ["Outgoing"]

FIRST_SECONDS = 1.0
"""So long a caller that has just come may take to send its first request."""
_COUNT = struct.Struct("i")


class Outgoing:
    """Sends to one caller.

    Args:
        transport: of the connection.
        now: seconds of the event loop's clock.
    """

    def __init__(self, transport: asyncio.Transport, now: float) -> None:
        self.transport = transport
        self._sent = 0
        self._taken = 0
        self._since = now
        self._made = now

    def send(self, data: bytes) -> None:
        """Send bytes; never blocks."""
        self._sent += len(data)
        self.transport.write(data)

    def stalls(self, now: float, seconds: float) -> bool:
        """Return whether the caller took nothing for ``seconds`` of what waits for it.

        To be asked every now and then: what it took is noticed by being asked.
        """
        left = self.transport.get_write_buffer_size()
        if left and self._sent - left == self._taken:
            return now - self._since >= seconds
        self._taken, self._since = self._sent - left, now
        return False

    def may_be_asked(self, now: float) -> bool:
        """Return whether a request may be on its way: the caller has just come, or sent bytes."""
        if not self._sent and now - self._made < FIRST_SECONDS:
            return True
        socket = self.transport.get_extra_info("socket")
        if socket is None or self.transport.is_closing():
            return False
        unread = ioctl(socket.fileno(), termios.FIONREAD, bytes(_COUNT.size))
        return bool(_COUNT.unpack(unread)[0])
