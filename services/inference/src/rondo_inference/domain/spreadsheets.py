"""Text in files that people open in a spreadsheet, which takes some text for a formula.

Source: OWASP, "CSV Injection" (https://owasp.org/www-community/attacks/CSV_Injection).
"""

import re

__all__ = ["as_text"]

_FORMULA = re.compile(r"(?![-+](?:[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?|inf)\Z)[=+\-@\t\r\n]")


def as_text(cell: str) -> str:
    """Return a cell that no spreadsheet computes: with ``'`` before what begins like a formula.

    A number stays as it is, whatever its sign: the label ``-1`` is no danger.

    >>> as_text("=HYPERLINK(1)"), as_text("-1.5"), as_text("-1.5+A1"), as_text("Bonn")
    ("'=HYPERLINK(1)", '-1.5', "'-1.5+A1", 'Bonn')
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell
