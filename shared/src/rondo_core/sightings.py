"""What a sweep has seen before: only what does not move for a while is asked for again."""

from dataclasses import dataclass

__all__ = ["Sightings"]


@dataclass(slots=True)
class _Sighting:
    mark: object
    due_at: float
    times: int
    sweep: int


class Sightings:
    """The memory of one sweeping process, on its own monotonic clock; losing it only costs time.

    Args:
        longest_seconds: the pause between two repeats doubles up to this.

    >>> sightings = Sightings()
    >>> [sightings.due("a", "REPORTED", now=now, wait=3.0) for now in (0.0, 2.0, 3.0, 4.0, 9.0)]
    [0, 0, 1, 0, 2]
    """

    def __init__(self, *, longest_seconds: float = 30.0) -> None:
        self._longest_seconds = longest_seconds
        self._seen: dict[object, _Sighting] = {}
        self._sweep = 0

    def due(self, key: object, mark: object, *, now: float, wait: float) -> int:
        """Note a sighting; return how often it was due, or 0 when it is not due now.

        Args:
            key: what was seen.
            mark: its state; another mark than before means that it moved, and the wait begins anew.
            now: monotonic seconds.
            wait: seconds without a move until it is first due.
        """
        seen = self._seen.get(key)
        if seen is None or seen.mark != mark:
            seen = self._seen[key] = _Sighting(mark, now + wait, 0, self._sweep)
        seen.sweep = self._sweep
        if now < seen.due_at:
            return 0
        seen.times += 1
        seen.due_at = now + min(wait * 2**seen.times, self._longest_seconds)
        return seen.times

    def end_sweep(self) -> None:
        """Forget what this sweep did not see."""
        self._seen = {key: seen for key, seen in self._seen.items() if seen.sweep == self._sweep}
        self._sweep += 1
