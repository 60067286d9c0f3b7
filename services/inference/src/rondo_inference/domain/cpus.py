"""How many CPUs a process may use."""

import math

__all__ = ["usable_cpus"]


def usable_cpus(visible: int, cpu_max: str) -> int:
    """Return the CPUs of a container: a quota limits them below what the process sees.

    Args:
        visible: CPUs that the process may be scheduled on.
        cpu_max: the text of cgroup v2's ``cpu.max``, quota and period in microseconds; empty where
            there is none.

    Returns:
        At least 1; a fraction of a CPU counts as one.

    Source: Linux kernel, Control Group v2, "CPU Interface Files".

    Example:
        >>> usable_cpus(64, "150000 100000"), usable_cpus(64, "max 100000"), usable_cpus(2, "")
        (2, 64, 2)
    """
    quota, _, period = cpu_max.strip().partition(" ")
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return visible
    return max(1, min(visible, math.ceil(int(quota) / int(period))))
