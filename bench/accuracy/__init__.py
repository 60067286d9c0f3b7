"""How well federations learn, beside the published numbers: ``python -m bench.accuracy``."""
