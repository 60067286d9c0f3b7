"""The HTTP door: enrolment, assignments, uploads, runs and versions."""

__all__: list[str] = []
