"""Is a version good enough, and in what form is it served: evaluates, gates, exports."""

__all__: list[str] = []
