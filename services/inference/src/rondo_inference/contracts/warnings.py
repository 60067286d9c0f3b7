"""What an answer tells of numbers beyond the bounds of their columns."""

import json
from collections.abc import Sequence

from rondo_core.input_bounds import Beyond

__all__ = ["PARAMETER", "WARNINGS", "warnings_text"]

WARNINGS = "x-rondo-warnings"
"""The header of an answer over HTTP."""
PARAMETER = "rondo_warnings"
"""The parameter of an answer of the Open Inference Protocol, over HTTP and gRPC."""

_LONGEST_TEXT = 4096
"""Proxies take 8 KiB of headers."""


def warnings_text(beyond: Sequence[Beyond]) -> str:
    """Return JSON in ASCII: an object for each column and bound, and how many more there are.

    A column that is ignored has no rows.

    >>> print(warnings_text([Beyond("age", "above maximum 120", rows=2, first=0)]))
    [{"column": "age", "rule": "above maximum 120", "rows": 2, "first_row": 0}]
    """
    told, length = list[str](), 0
    for one in beyond:
        fields: dict[str, str | int] = {"column": one.column, "rule": one.rule}
        if one.rows:
            fields |= {"rows": one.rows, "first_row": one.first}
        text = json.dumps(fields)
        length += len(text)
        if length > _LONGEST_TEXT:
            told.append(json.dumps({"more": len(beyond) - len(told)}))
            break
        told.append(text)
    return f"[{', '.join(told)}]"
