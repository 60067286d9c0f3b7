"""How an answer tells of columns, in a header or a parameter."""

import json
from collections.abc import Sequence

from msgspec import to_builtins

from rondo_core.input_bounds import Beyond
from rondo_inference.domain.told import few_told

__all__ = ["PARAMETER", "WARNINGS", "warnings_text"]

WARNINGS = "x-rondo-warnings"
"""The header of an answer over HTTP."""
PARAMETER = "rondo_warnings"
"""The parameter of an answer of the Open Inference Protocol, over HTTP and gRPC."""


def warnings_text(beyond: Sequence[Beyond]) -> str:
    """Return JSON in ASCII: an object for each column and bound, and how many more there are.

    A column that is ignored has no rows.

    >>> print(warnings_text([Beyond("age", "above maximum 120", rows=2, first=0)]))
    [{"column": "age", "rule": "above maximum 120", "rows": 2, "first_row": 0}]
    """
    return f"[{', '.join(json.dumps(to_builtins(one)) for one in few_told(beyond))}]"
