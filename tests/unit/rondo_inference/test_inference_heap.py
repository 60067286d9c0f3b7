"""What the process keeps of memory that was freed."""

import subprocess
import sys

import pytest

from rondo_inference.registry.heap import give_back
from rondo_inference.registry.memory import resident_bytes

MEGABYTE = 1024 * 1024

SWAP = """
import ctypes
from rondo_inference.registry.heap import keep_large_apart
from rondo_inference.registry.memory import resident_bytes

if {apart}:
    keep_large_apart()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]

def block(size):
    found = library.malloc(ctypes.c_size_t(size))
    ctypes.memset(found, 1, size)
    return found

library.free(block(16 << 20))  # the first version goes
before = resident_bytes()
weights = block(8 << 20)       # the next one comes
small = block(1000)            # and something that stays behind it
library.free(weights)
print(resident_bytes() - before)
"""


def kept(*, apart: bool) -> int:
    """Return how many bytes more a process has after it has freed a version's weights."""
    done = subprocess.run(
        [sys.executable, "-c", SWAP.format(apart=apart)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_a_version_that_goes_leaves_no_hole_in_the_heap() -> None:
    assert kept(apart=True) < MEGABYTE
    assert kept(apart=False) > 7 * MEGABYTE  # or there would be nothing to do


def test_the_process_knows_its_size_and_gives_memory_back() -> None:
    give_back()

    assert resident_bytes() > 10 * MEGABYTE
