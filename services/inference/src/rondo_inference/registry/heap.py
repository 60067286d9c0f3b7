"""The C library's heap: what a version took goes back to the system when the version goes."""

import ctypes
from typing import Final

__all__ = ["give_back", "keep_large_apart"]

LARGE_BYTES: Final = 256 * 1024
"""What is no smaller, such as the weights of a version, gets pages of its own."""

_M_MMAP_THRESHOLD: Final = -3


def keep_large_apart() -> None:
    """Let large blocks have pages of their own for good, where the C library can (glibc).

    Otherwise glibc moves its bound up to the largest block that was ever freed, 32 MiB at most, and
    keeps later ones on the heap: after the first swap of versions its holes are as large as one.

    Source: mallopt(3), ``M_MMAP_THRESHOLD``.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc).

    Source: malloc_trim(3).
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
