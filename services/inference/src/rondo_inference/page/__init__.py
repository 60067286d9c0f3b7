"""The codeless page: forms, pictures and CSV files for people who write no program."""

__all__: list[str] = []
