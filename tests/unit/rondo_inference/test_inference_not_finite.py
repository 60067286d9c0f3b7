"""Answers that are NaN or Infinity: no label, and where people read, a refused row."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rondo_inference.domain.answers import NOT_FINITE
from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.batch_world import BatchWorld
from tests.unit.rondo_inference.exported import homes_export, write_version
from tests.unit.rondo_inference.test_inference_page import Document, send

PREDICT = "/v1/models/homes:predict"
PAGE = "/page/models/homes"
OVERFLOWING = "3,3e38"  # ten times that is no float32


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Service]:
    write_version(homes_export(), tmp_path)
    with running(models=tmp_path) as found:
        yield found


def test_programs_get_null_where_the_answer_is_not_finite(homes: Service) -> None:
    lines, raw = (
        homes.ask(
            "POST", PREDICT, b"[3, 3e38]\n", content_type="application/jsonlines", accept=accept
        )
        for accept in ("application/jsonlines", "text/csv")
    )
    tensors = homes.ask("POST", PREDICT, b'{"instances": [[3, 3e38]]}')

    assert lines.body == b'{"price":null}\n'
    assert raw.body == b"price\ninf\n"
    assert tensors.body == b'{"predictions":[[Infinity]]}'


def test_the_page_refuses_a_row_whose_answer_is_not_finite(homes: Service) -> None:
    row = send(homes, PAGE, {"kind": "row", "column.rooms": "3", "column.area": "3e38"})
    rows = send(homes, PAGE, {"kind": "csv"}, ("r.csv", f"3,20\n{OVERFLOWING}\n".encode()))
    file = send(
        homes, PAGE, {"kind": "csv", "as": "csv"}, ("r.csv", f"{OVERFLOWING}\n3,20\n".encode())
    )

    assert row.status == rows.status == 200
    assert f"Answer {NOT_FINITE} Served is homes" in Document(row).text
    assert Document(rows).text.count("inf") == 0
    assert "1 predicted, 1 refused" in Document(rows).text
    assert f"2 line 2 refused {NOT_FINITE}" in Document(rows).text
    assert file.body.decode().splitlines()[1:] == [f"1,,{NOT_FINITE},", "2,204.0,,"]


def test_a_batch_job_refuses_a_row_whose_answer_is_not_finite() -> None:
    world, found = BatchWorld(), homes_export()
    found.store(world.store)
    job_id = world.make(f"rooms,area\n1,50\n{OVERFLOWING}\n".encode(), export=found)

    world.work()

    table = f"price,error,warning\n502.0,,\n,{NOT_FINITE},\n"
    assert world.output(job_id) == table.encode()
    assert world.failures(job_id) == b'{"row":1,"rule":"%s"}\n' % NOT_FINITE.encode()
    assert world.view(job_id).failed_records == 1
