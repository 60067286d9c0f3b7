"""Batch jobs: large files are scored in chunks by workers, and joined into one output."""

__all__: list[str] = []
