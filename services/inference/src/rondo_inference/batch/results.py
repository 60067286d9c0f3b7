"""What the page shows of a job's results, and where they come from."""

import csv
import io
from urllib.parse import urlsplit

from rondo_core.errors import NotFound
from rondo_core.row_places import row_number
from rondo_inference.batch.new_jobs import key_of
from rondo_inference.batch.orders import Orders
from rondo_inference.domain.batch_job import INPUTS
from rondo_inference.domain.spreadsheets import as_text
from rondo_inference.domain.tensor_json import decode_json

__all__ = ["LONGEST_LIST", "refused_csv", "store_origin"]

LONGEST_LIST = 16 * 1024 * 1024
"""A list of refused records that has more bytes is not rewritten: its lines of JSON are given."""


def store_origin(orders: Orders) -> str:
    """Return scheme, host and port of the store as callers reach it; computed, nothing is asked."""
    parts = urlsplit(orders.links.for_download(INPUTS, expires_seconds=orders.link_seconds))
    return f"{parts.scheme}://{parts.netloc}"


def refused_csv(orders: Orders, model: str, job_id: str) -> bytes | str:
    """Return the records of a job that do not fit as CSV: number from 1, file, column and rule.

    Blocks. A list of more than ``LONGEST_LIST`` bytes is a link to its lines of JSON instead.

    Raises:
        NotFound: no such job, or all of its records fit.
        Unavailable: no answer.
    """
    view = orders.show(model, job_id)
    key = key_of(view.failures.location) if view.failures and view.failed_records else None
    info = None if key is None else orders.ports.objects.head(key)
    if key is None or info is None or view.failures is None:
        raise NotFound(f"job {job_id} has no refused records")
    if info.size > LONGEST_LIST:
        return view.failures.url
    text = io.StringIO()
    writer = csv.DictWriter(text, ("row", "file", "column", "rule"), lineterminator="\n")
    writer.writeheader()
    for line in orders.ports.objects.get(key).splitlines():
        told = decode_json(line)
        told["row"] = row_number(told["row"])
        writer.writerow({name: as_text(str(value)) for name, value in told.items()})
    return text.getvalue().encode()
