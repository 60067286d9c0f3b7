"""The commands of ``rondo``, one module each; `rondo.cli` puts them together."""

__all__: list[str] = []
