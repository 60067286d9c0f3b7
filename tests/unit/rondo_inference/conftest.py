from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.exported import sample_folder


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Service]:
    """A service on a folder: prices 1 and 2, shapes 3, identity, floats, words."""
    with running(models=sample_folder(tmp_path)) as found:
        yield found
