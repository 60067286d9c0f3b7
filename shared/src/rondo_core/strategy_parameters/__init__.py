"""The parameters of the parts that strategies are made of: defaults, bounds, how many they take.

A strategy is client weights, a column rule and a server optimizer; each part has one class here and
one file in the aggregator, which cites the paper. Bounds are checked where parameters are read
(`rondo_core.strategies.read_strategy`), at the doors and again before a round is combined. A part
that cannot combine every number of updates says so in ``refusal``: a door asks it for the numbers
that a run's rounds may have, the aggregator for the number that came.
"""

__all__: list[str] = []
