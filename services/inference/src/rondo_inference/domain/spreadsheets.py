"""What comes from a spreadsheet by mistake, and text that one would take for a formula.

Source: OWASP, "CSV Injection" (https://owasp.org/www-community/attacks/CSV_Injection).
"""

import re

from rondo_core.errors import Invalid

__all__ = ["as_text", "refuse_spreadsheet"]

_FILES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How the files of Excel and LibreOffice begin: as archives, or, the old ones, as OLE2."""

_FORMULA = re.compile(r"(?![-+](?:[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?|inf)\Z)[=+\-@\t\r\n]")


def as_text(cell: str) -> str:
    """Return a cell that no spreadsheet computes: with ``'`` before what begins like a formula.

    A number stays as it is, whatever its sign: the label ``-1`` is no danger.

    >>> as_text("=HYPERLINK(1)"), as_text("-1.5"), as_text("-1.5+A1"), as_text("Bonn")
    ("'=HYPERLINK(1)", '-1.5', "'-1.5+A1", 'Bonn')
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def refuse_spreadsheet(body: bytes) -> None:
    """Refuse what begins as a spreadsheet's own file does.

    Raises:
        Invalid: it does; the text says what to do.
    """
    if body.startswith(_FILES):
        raise Invalid("this is a spreadsheet's own file, not a CSV: save it as CSV, and send that")
