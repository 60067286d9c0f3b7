import asyncio
from collections.abc import Callable

import pytest

from rondo_core.errors import Unavailable
from rondo_core.telemetry import Metrics
from rondo_gateway.domain.attempts import AttemptId
from rondo_gateway.domain.snapshot import Interests, Snapshot, Waiter
from rondo_gateway.web import watcher as watching
from rondo_gateway.web.watcher import Watcher
from tests.unit.rondo_gateway.gateway_http import turns_until

WHERE = AttemptId("run-1", 1, 1)


class Scene:
    """A watcher whose looks are scripted."""

    def __init__(self) -> None:
        self.looks: list[Interests] = []
        self.shown = Snapshot()
        self.fails = False
        self.metrics = Metrics()
        self.watcher = Watcher(self.observe, tick_seconds=0.001, metrics=self.metrics)

    def observe(self, interests: Interests, _: Snapshot) -> Snapshot:
        self.looks.append(interests)
        if self.fails:
            raise Unavailable("no answer")
        return self.shown

    def show(self, *runs: str) -> None:
        self.shown = Snapshot(active_runs=frozenset(runs))

    def gauge(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"kind": ""})

    def play(self, scenario: Callable[[], object]) -> None:
        """Run an async function while the watcher runs."""

        async def whole() -> None:
            running = asyncio.create_task(self.watcher.run())
            await scenario()  # type: ignore[misc]  # an async function
            self.watcher.close()
            await running

        asyncio.run(whole())


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(watching, "QUIET_SECONDS", 0.001)
    return Scene()


def sees(run_id: str) -> Callable[[Snapshot], str | None]:
    return lambda snapshot: run_id if run_id in snapshot.active_runs else None


def test_all_who_wait_for_a_change_are_woken_by_it(scene: Scene) -> None:
    async def scenario() -> None:
        waiting = [
            asyncio.create_task(scene.watcher.wait_for(Waiter(), sees("run-1"), seconds=10))
            for _ in range(3)
        ]
        await turns_until(lambda: len(scene.looks) > 2)
        assert scene.gauge("rondo_waiting_clients") == 3
        scene.show("run-1")
        assert await asyncio.gather(*waiting) == ["run-1"] * 3

    scene.play(scenario)
    assert scene.gauge("rondo_waiting_clients") == 0


def test_nobody_is_asked_again_while_nothing_changes(scene: Scene) -> None:
    asked = []

    def answer(snapshot: Snapshot) -> str | None:
        asked.append(snapshot)
        return sees("run-1")(snapshot)

    async def scenario() -> None:
        waiting = asyncio.create_task(scene.watcher.wait_for(Waiter(), answer, seconds=10))
        await turns_until(lambda: len(scene.looks) > 10)
        assert len(asked) <= 2
        scene.show("run-1")
        await waiting

    scene.play(scenario)


def test_a_look_is_for_what_all_together_want_to_see(scene: Scene) -> None:
    waiters = [Waiter(run="run-1"), Waiter(run="run-2"), Waiter(verdict=WHERE), Waiter()]

    async def scenario() -> None:
        waiting = [
            asyncio.create_task(scene.watcher.wait_for(one, sees("end"), seconds=10))
            for one in waiters
        ]
        await turns_until(lambda: bool(scene.looks) and len(scene.looks[-1].runs) == 2)
        scene.show("end")
        await asyncio.gather(*waiting)

    scene.play(scenario)
    assert scene.looks[-1] == Interests(
        work=True, runs=frozenset({"run-1", "run-2"}), verdicts=frozenset({WHERE})
    )


def test_who_waits_for_a_verdict_only_needs_no_look_at_rounds(scene: Scene) -> None:
    async def scenario() -> None:
        found = await scene.watcher.wait_for(Waiter(verdict=WHERE), sees("run-1"), seconds=0)
        assert found is None

    scene.play(scenario)
    assert {look.work for look in scene.looks} == {False}


def test_a_newcomer_is_not_answered_from_an_old_look(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FRESH_SECONDS", 0.0)

    async def scenario() -> None:
        scene.show("run-1")
        assert await scene.watcher.wait_for(Waiter(), sees("run-1"), seconds=0) == "run-1"
        scene.show()
        assert await scene.watcher.wait_for(Waiter(), sees("run-1"), seconds=0) is None

    scene.play(scenario)


def test_a_newcomer_ends_a_quiet_pause(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "QUIET_SECONDS", 1000.0)

    async def scenario() -> None:
        patient = asyncio.create_task(scene.watcher.wait_for(Waiter(), sees("run-1"), seconds=100))
        await turns_until(lambda: len(scene.looks) == 1)
        scene.show("run-1")
        assert await scene.watcher.wait_for(Waiter(), sees("run-1"), seconds=100) == "run-1"
        assert await patient == "run-1"

    scene.play(scenario)


def test_a_look_that_fails_is_counted_and_the_next_one_helps(scene: Scene) -> None:
    async def scenario() -> None:
        scene.fails = True
        waiting = asyncio.create_task(scene.watcher.wait_for(Waiter(), sees("run-1"), seconds=10))
        await turns_until(lambda: len(scene.looks) > 2)
        scene.fails = False
        scene.show("run-1")
        assert await waiting == "run-1"

    scene.play(scenario)
    labels = {"kind": "watcher", "outcome": "error"}
    failures = scene.metrics.registry.get_sample_value("rondo_loop_failures_total", labels)
    assert failures is not None
    assert failures > 2


def test_who_never_got_a_look_hears_that_the_table_does_not_answer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "GRACE_SECONDS", 0.01)
    scene.fails = True

    async def scenario() -> None:
        with pytest.raises(Unavailable):
            await scene.watcher.wait_for(Waiter(), sees("run-1"), seconds=0)

    scene.play(scenario)


def test_once_closed_everybody_is_answered_at_once(scene: Scene) -> None:
    async def scenario() -> None:
        waiting = asyncio.create_task(scene.watcher.wait_for(Waiter(), sees("run-1"), seconds=1000))
        await turns_until(lambda: bool(scene.looks))
        scene.watcher.close()
        assert await waiting is None
        assert await scene.watcher.wait_for(Waiter(), sees("run-1"), seconds=1000) is None

    scene.play(scenario)


def test_a_caller_that_goes_away_is_not_watched_for_any_more(scene: Scene) -> None:
    async def scenario() -> None:
        waiting = asyncio.create_task(scene.watcher.wait_for(Waiter(), sees("run-1"), seconds=1000))
        await turns_until(lambda: bool(scene.looks))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    scene.play(scenario)
    assert scene.watcher.waiting.total() == 0


@pytest.mark.parametrize(
    ("cost", "shortest"), [(0.0, 0.001), (0.5, 2.0)], ids=["quick looks", "slow looks"]
)
def test_the_pause_grows_with_the_cost_of_a_look(cost: float, shortest: float) -> None:
    pause = watching.pause_after(cost, tick_seconds=0.001, quiet=False)

    assert pause == watching.Pause(shortest, shortest)


def test_the_pause_is_long_when_nothing_is_active_but_a_newcomer_may_end_it() -> None:
    pause = watching.pause_after(0.01, tick_seconds=0.05, quiet=True)

    assert pause == watching.Pause(0.05, watching.QUIET_SECONDS)
