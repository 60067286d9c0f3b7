"""What `import rondo` gives, and what it does not cost."""

import inspect
import subprocess
import sys

import pytest

import rondo

NAMES = [
    "Conflict",
    "Federation",
    "GatewayError",
    "Invalid",
    "NotFound",
    "NumpyTrainer",
    "Operator",
    "Result",
    "RondoError",
    "RoundResult",
    "RoundTask",
    "Trained",
    "Trainer",
    "Unauthorized",
    "Unavailable",
    "connect",
]


def test_the_public_names_are_these_and_sorted() -> None:
    assert rondo.__all__ == NAMES
    assert sorted(NAMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring_whose_first_line_is_a_sentence(name: str) -> None:
    first = (inspect.getdoc(getattr(rondo, name)) or "").partition("\n")[0]

    assert first.endswith((".", ":"))


def test_importing_loads_nothing_heavy() -> None:
    heavy = ("boto3", "botocore", "celery", "fastapi", "keras", "pydantic", "redis", "tensorflow")
    code = f"import rondo, sys; print([name for name in {heavy} if name in sys.modules])"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_every_error_is_one_of_the_families() -> None:
    families = (rondo.Invalid, rondo.NotFound, rondo.Conflict, rondo.Unavailable)

    assert issubclass(rondo.Unauthorized, rondo.Invalid)
    assert all(issubclass(family, rondo.RondoError) for family in families)
