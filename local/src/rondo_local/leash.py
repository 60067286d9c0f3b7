"""A program that dies with whoever started it: ``python leash.py PARENT_PID PROGRAM ARGUMENT...``.

Linux sends the chosen signal to a process when the thread that started it ends, and keeps that over
``exec``. Asking for it here, between ``fork`` and the program, needs no code of ours in the forked
child of a process with threads (``preexec_fn``), which may deadlock. Elsewhere only the parent's
own clean-up ends the program.

Runs by its path with ``-I -S``, so it imports the standard library only, and little of it.

Source: prctl(2), PR_SET_PDEATHSIG.
"""

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Become the program of ``argv``; does not return.

    Args:
        argv: the process id of the parent, then the program with its arguments.
    """
    parent, *program = argv
    if sys.platform == "linux":
        # SIGTERM, not SIGKILL: a program that keeps state may still write it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("the parent ended before the program began")
    os.execvp(program[0], program)  # noqa: S606 - replacing this process is the point, argv is a list


if __name__ == "__main__":
    main(sys.argv[1:])
