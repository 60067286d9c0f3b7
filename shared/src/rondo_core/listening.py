"""Sockets that listen, and in our words why one cannot."""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from rondo_core.errors import Invalid, Unavailable

__all__ = ["address", "close_listeners", "listening", "open_listeners"]

_MAY_PASS = frozenset({errno.EADDRINUSE, socket.EAI_AGAIN})
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""A name may stand for addresses of which this machine has only some: ``localhost`` for ``::1``."""


def address(host: str, port: int) -> str:
    """Return both as one text; an address of IPv6 is in brackets.

    Source: RFC 3986, section 3.2.2.

    Example:
        >>> address("127.0.0.1", 80), address("::", 80)
        ('127.0.0.1:80', '[::]:80')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_SO_ATTACH_FILTER = 26
_DROP = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A program for the kernel's packet filter, of one instruction: return 0 bytes of the packet."""


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """Translate what the system says to a block that listens there.

    Raises:
        Invalid: nobody can listen there: no such host, none of this machine, not allowed.
        Unavailable: the port is in use, or the host's name cannot be looked up now.
    """
    try:
        yield
    except OSError as exc:
        kind = Unavailable if exc.errno in _MAY_PASS else Invalid
        why = exc.strerror if isinstance(exc, socket.gaierror) else os.strerror(exc.errno or 0)
        raise kind(f"cannot listen on {address(host, port)}: {why}") from exc


def open_listeners(host: str, port: int, *, backlog: int) -> tuple[socket.socket, ...]:
    """Listen on every address of a host; connections wait until somebody accepts them.

    Args:
        host: an address or a name.
        port: 0 is any that is free, the same for all addresses.
        backlog: how many connections may wait.

    Returns:
        Sockets of the caller, which do not block.

    Raises:
        Invalid, Unavailable: see `listening`.
    """
    with listening(host, port), ExitStack() as opened:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listeners: list[socket.socket] = []
        for family, place in dict.fromkeys((one[0], one[4]) for one in found):
            same = listeners[0].getsockname()[1] if listeners else port
            try:
                listener = _listener(family, (place[0], same, *place[2:]), backlog)
            except OSError as exc:
                if exc.errno not in _NOT_HERE or (place == found[-1][4] and not listeners):
                    raise
            else:
                listeners.append(opened.enter_context(listener))
        opened.pop_all()
    return tuple(listeners)


def _listener(family: int, place: tuple[object, ...], backlog: int) -> socket.socket:
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.settimeout(0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # IPv4 is an address of its own, if it is meant
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(place)
        listener.listen(backlog)
        opened.pop_all()
    return listener


def close_listeners(listeners: Iterable[socket.socket]) -> list[socket.socket]:
    """Close them, and return the connections that wait: the system resets those that it still has.

    Their callers are connected and may have sent a request. Whoever comes while they are counted is
    not heard; the caller's system asks again a second later, and is refused.

    Returns:
        Sockets of the caller, which do not block.

    Source: Linux, Documentation/networking/filter.rst, ``SO_ATTACH_FILTER``.
    """
    found = []
    for listener in listeners:
        with listener, suppress(BlockingIOError):
            _deafen(listener)
            while True:
                waiting, _ = listener.accept()
                waiting.settimeout(0)
                found.append(waiting)
    return found


def _deafen(listener: socket.socket) -> None:
    program = ctypes.create_string_buffer(_DROP)
    attached = struct.pack("HP", 1, ctypes.addressof(program))
    with suppress(OSError):  # where there is no filter, one may come between the last and the end
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)
