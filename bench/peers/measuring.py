"""What every measurement of a part does: warm up, repeat, and watch the private memory.

Needs the standard library alone, since the peers' environments have nothing of ours.
"""

import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["measured", "private_mib", "report"]


def private_mib() -> float:
    """Return the anonymous memory of this process that is in use, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measured(
    work: Callable[[], object], *, repeats: int, warm_up: bool = True
) -> dict[str, object]:
    """Time a piece of work.

    Returns:
        Seconds of each repeat by the clock and by the processor, how many of the latter were the
        system's, page faults of each, and the peak of private memory.
        The processor's time is what a core that is shared with others tells the truth in.
    """
    if warm_up:
        work()
    peak, done = [private_mib()], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak.append(private_mib())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    seconds, processor, system, faults = [], [], [], []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_SELF)
        start, busy = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
        after = resource.getrusage(resource.RUSAGE_SELF)
        system.append(after.ru_stime - before.ru_stime)
        faults.append(after.ru_minflt - before.ru_minflt)
    done.set()
    watcher.join()
    return {
        "seconds": seconds,
        "processor": processor,
        "system": system,
        "faults": faults,
        "peak_private_mib": round(max(peak), 1),
    }


def report(result: object) -> None:
    """Print a result as the last line, for whoever started this program."""
    sys.stdout.write(json.dumps(result) + "\n")
