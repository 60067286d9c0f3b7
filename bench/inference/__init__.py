"""Inference servers in turn, on the same model, the same pictures, the same machine, in one run.

Peers run from environments of their own, made below ``build/bench`` on first use. Each figure is
the median of several turns; CPU time is that of the server's whole process tree. Written to
``build/bench/inference.json``.

``python -m bench.inference [--turns N] [--seconds S] [--only NAME ...] [--parts PART ...]``
"""

__all__: list[str] = []
