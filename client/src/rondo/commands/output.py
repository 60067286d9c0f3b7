"""How commands print: JSON for programs, tables for people."""

from collections.abc import Sequence

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_json", "print_table"]

_WIDE = 1000


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    click.echo(msgspec.json.encode(value).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows for people: nothing is cut off, and only a terminal has lines that are too long.

    Args:
        columns: their names; all empty means that no header is shown.
        rows: cells by column; None is shown as nothing.
    """
    console = Console()
    table = Table(header_style="bold", show_header=any(columns))
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    console.print(table, width=None if console.is_terminal else _WIDE)
