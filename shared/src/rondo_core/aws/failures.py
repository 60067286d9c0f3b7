"""What AWS answers when it does not do what was asked, in the words of ``rondo_core.errors``."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.parsers import ResponseParserError

from rondo_core.errors import Invalid, Unavailable

__all__ = ["INVALID_CODES", "answered", "error_code", "pauses"]

INVALID_CODES = frozenset({"InvalidParameterValue", "ValidationError", "ValidationException"})
"""What AWS calls a request that breaks a rule, in whatever service."""


def error_code(exc: ClientError) -> str:
    """Return the service's name of the error, for example ``ConditionalCheckFailedException``."""
    return str(exc.response.get("Error", {}).get("Code", ""))


@contextmanager
def answered(what: str) -> Iterator[None]:
    """Translate what botocore raises in the block.

    An adapter catches the codes that mean something to its port inside the block.

    Raises:
        Invalid: the request can never succeed.
        Unavailable: everything else: no answer, throttled, not allowed, not there.
    """
    try:
        yield
    except ParamValidationError as exc:
        raise Invalid(f"{what}: {exc}") from exc
    except ClientError as exc:
        code, text = error_code(exc), exc.response.get("Error", {}).get("Message", "")
        kind = Invalid if code in INVALID_CODES else Unavailable
        raise kind(f"{what}: {code}: {text}") from exc
    except (BotoCoreError, ResponseParserError) as exc:
        raise Unavailable(f"{what}: {exc}") from exc


def pauses(attempts: int = 6, first_seconds: float = 0.02) -> Iterator[None]:
    """Yield at once, then after growing random pauses; blocks for about a second in all.

    Source: M. Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog): full jitter.
    """
    yield
    for attempt in range(attempts - 1):
        time.sleep(random.uniform(0, first_seconds * 2**attempt))  # noqa: S311 - jitter, no secret
        yield
