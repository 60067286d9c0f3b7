"""The media types that batch jobs read and write."""

from rondo_core.errors import Invalid
from rondo_inference.domain.negotiation import media_type, negotiated

__all__ = ["CSV", "LINES", "NPY", "PICTURES", "accepted", "content_type"]

CSV = "text/csv"
LINES = "application/jsonlines"
NPY = "application/x-npy"
PICTURES = ("image/png", "image/jpeg")
_ALSO_LINES = {"application/jsons", "application/x-jsonlines", "application/x-ndjson",
               "application/jsonl"}  # fmt: skip


def content_type(header: str) -> str:
    """Return the type of an input.

    Raises:
        Invalid: no batch job reads it.

    >>> content_type("application/x-ndjson; charset=utf-8")
    'application/jsonlines'
    """
    kind = media_type(header)
    kind = LINES if kind in _ALSO_LINES else kind
    if kind not in {CSV, LINES, NPY, *PICTURES}:
        known = ", ".join((CSV, LINES, NPY, *PICTURES))
        raise Invalid(f"{header!r} is not read by batch jobs; send one of {known}")
    return kind


def accepted(header: str, kind: str) -> str:
    """Return the type of the output: what is accepted of CSV and JSON lines.

    Args:
        header: ``Accept``; empty: CSV for CSV, else JSON lines.
        kind: of the input.

    Raises:
        Invalid: neither is accepted.
    """
    offered = (CSV, LINES) if kind == CSV else (LINES, CSV)
    wanted = ",".join(LINES if part.strip() in _ALSO_LINES else part for part in header.split(","))
    found = negotiated(wanted, offered)
    if found is None:
        raise Invalid(f"{header} is not written by batch jobs; accept {CSV} or {LINES}")
    return found
