"""How commands print: JSON for programs, tables for people."""

from collections.abc import Sequence

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_json", "print_table"]


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    click.echo(msgspec.json.encode(value).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows for people; without rows only the header."""
    table = Table(*columns, header_style="bold")
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    Console().print(table)
