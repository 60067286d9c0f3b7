"""Whatever is sent to the running stack is refused with a reason, and the run ends without it."""

import httpx
import pytest

from rondo_local.stack import Stack
from tests.e2e.bad_calls import CALLS, DECLARATIONS, TOKENS, UPLOADS
from tests.e2e.bad_clients import logged_outcome
from tests.e2e.bad_crowd import CROWD, Crowd, gather
from tests.e2e.bad_files import FILES
from tests.e2e.people import check_every_round

pytestmark = pytest.mark.timeout(600)


# --- updates --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    return gather(stack, tmp_path_factory.mktemp("crowd"))


@pytest.mark.parametrize("case", TOKENS)
def test_token_that_proves_nothing_is_refused_and_logged(
    stack: Stack, crowd: Crowd, case: str
) -> None:
    answer = crowd.answers["token", case]

    assert (answer.status, answer.code) == (401, TOKENS[case].code)
    assert TOKENS[case].message in answer.message
    assert logged_outcome(stack, answer.correlation_id) == TOKENS[case].code


@pytest.mark.parametrize("case", DECLARATIONS)
def test_declaration_that_breaks_a_rule_is_refused_with_value_and_rule(
    stack: Stack, crowd: Crowd, case: str
) -> None:
    answer, expected = crowd.answers["declaration", case], DECLARATIONS[case]

    assert (answer.status, answer.code) == (expected.status, expected.code)
    assert expected.message in answer.message
    assert logged_outcome(stack, answer.correlation_id) == expected.code


@pytest.mark.parametrize("case", CALLS)
def test_call_that_does_not_fit_who_calls_and_when_is_refused(
    stack: Stack, crowd: Crowd, case: str
) -> None:
    answer, expected = crowd.answers["call", case], CALLS[case]

    assert (answer.status, answer.code) == (expected.status, expected.code)
    assert expected.message in answer.message
    assert logged_outcome(stack, answer.correlation_id) == expected.code


@pytest.mark.parametrize("case", UPLOADS)
def test_store_refuses_what_was_not_declared(crowd: Crowd, case: str) -> None:
    answer = crowd.answers["upload", case]

    assert (answer.status, answer.code) == (UPLOADS[case].status, UPLOADS[case].code)
    assert answer.message


def test_failed_uploads_leave_nothing_behind_and_the_right_one_counts_once(crowd: Crowd) -> None:
    assert crowd.answers["upload", "good"].status == httpx.codes.OK
    assert crowd.answers["upload", "again"].code == "PreconditionFailed"
    assert [receipt.state for receipt in crowd.receipts["clumsy"]] == ["REPORTED", "ACCEPTED"]


@pytest.mark.parametrize("case", FILES)
def test_file_that_is_no_update_is_rejected_with_layer_value_and_rule(
    crowd: Crowd, case: str
) -> None:
    reported, verdict = crowd.receipts[case]

    assert reported.state == "REPORTED"
    assert (verdict.state, verdict.code) == ("REJECTED", FILES[case].code)
    assert FILES[case].reason in (verdict.reason or "")
    assert crowd.run.attempts[0].rejections[crowd.ids[case]] == verdict.reason


def test_report_without_an_upload_is_rejected(crowd: Crowd) -> None:
    _, verdict = crowd.receipts["forgetful"]

    assert (verdict.state, verdict.code) == ("REJECTED", "no-object")
    assert verdict.reason == "reported, but not in the store"


def test_report_that_comes_again_gets_the_same_receipt(crowd: Crowd) -> None:
    first, second, verdict, third, last = crowd.receipts["repeater"]

    assert (first.state, verdict.state) == ("REPORTED", "ACCEPTED")
    assert second in {first, verdict}
    assert third == last == verdict


def test_round_counts_the_good_updates_and_its_version_is_promoted(
    stack: Stack, crowd: Crowd
) -> None:
    assert (crowd.run.state, crowd.run.reason) == ("FINISHED", "promoted as version 1")
    (attempt,) = crowd.run.attempts
    assert (attempt.round, attempt.attempt, attempt.state) == (1, 1, "COMMITTED")
    assert attempt.updates == {"ACCEPTED": 4, "REJECTED": len(FILES) + 1}
    wrong = {crowd.ids[name] for name in [*FILES, "forgetful"]}
    assert set(attempt.rejections) == wrong
    assert check_every_round(stack, CROWD) == 4
