"""Updates that could not be handed in: they are settled before the next work is asked for."""

import httpx

from rondo.submission import LINKS
from tests.unit.rondo.fake_gateway import Connect, FakeGateway
from tests.unit.rondo.linear import CountingTrainer


def test_an_update_whose_round_was_sealed_while_its_links_were_refused_is_told_of_as_late(
    connect: Connect, gateway: FakeGateway
) -> None:
    run = gateway.start_run(rounds=2)
    gateway.refuse_links(lambda: gateway.seal(run))
    trainer = CountingTrainer()

    result = connect().train(trainer=trainer, progress=False)

    assert [(one.round, one.verdict) for one in result.rounds] == [(1, "late"), (2, "accepted")]
    assert "takes no more updates" in (result.rounds[0].reason or "")
    assert trainer.trained == 2


def test_an_update_of_an_attempt_that_was_given_up_meanwhile_is_late_and_the_second_is_made(
    connect: Connect, gateway: FakeGateway
) -> None:
    run = gateway.start_run(rounds=1)
    gateway.refuse_links(lambda: gateway.abort(run))
    trainer = CountingTrainer()

    result = connect().train(trainer=trainer, progress=False)

    assert [(one.attempt, one.verdict) for one in result.rounds] == [(1, "late"), (2, "accepted")]
    assert trainer.trained == 2


def test_an_update_of_a_run_that_ended_meanwhile_is_told_of_as_late(
    connect: Connect, gateway: FakeGateway
) -> None:
    run = gateway.start_run(rounds=1)
    gateway.refuse_links(lambda: gateway.seal(run))

    result = connect().train(trainer=CountingTrainer(), progress=False)

    assert result.state == "FINISHED"
    assert [(one.round, one.verdict) for one in result.rounds] == [(1, "late")]


def test_an_update_whose_links_were_refused_is_handed_in_without_training_again(
    connect: Connect, gateway: FakeGateway
) -> None:
    gateway.start_run(rounds=1)
    gateway.refuse_links(lambda: None, times=8)
    trainer = CountingTrainer()

    result = connect().train(trainer=trainer, progress=False)

    assert [one.verdict for one in result.rounds] == ["accepted"]
    assert (trainer.trained, len(gateway.updates)) == (1, 1)


def test_refused_links_are_counted_anew_after_an_update_was_handed_in(
    connect: Connect, gateway: FakeGateway
) -> None:
    run = gateway.start_run(rounds=2)

    def the_next_download_is_refused_too() -> None:
        gateway.seal(run)
        gateway.fault("GET /models/versions/", lambda _: httpx.Response(403))

    gateway.refuse_links(the_next_download_is_refused_too, times=2 * LINKS)

    result = connect().train(trainer=CountingTrainer(), progress=False)

    assert [one.verdict for one in result.rounds] == ["late", "accepted"]


def test_an_update_that_is_refused_for_good_in_the_end_is_dropped_and_the_run_goes_on(
    connect: Connect, gateway: FakeGateway
) -> None:
    run = gateway.start_run(rounds=2)

    def nothing_fits_any_more() -> None:
        gateway.seal(run)
        gateway.fail(r"PUT .*/update$", 422, "wrong-size")

    gateway.refuse_links(nothing_fits_any_more)

    result = connect().train(trainer=CountingTrainer(), progress=False)

    assert [(one.round, one.verdict) for one in result.rounds] == [
        (1, "rejected"),
        (2, "accepted"),
    ]
