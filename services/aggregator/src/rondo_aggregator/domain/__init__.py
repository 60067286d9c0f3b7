"""The aggregator's rules: what is accepted, claimed and committed. Values in, values out."""

__all__: list[str] = []
