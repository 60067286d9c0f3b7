"""The SDK of Rondo: enrol, train on data that never leaves, submit updates, and run models."""

__all__: list[str] = []
