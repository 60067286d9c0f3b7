"""Requests that name no version: shares of them by weight, and copies to a shadow."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.rondo_inference.asked import PRICES_ROW, predict_price, running
from tests.unit.rondo_inference.exported import sample_folder


def test_traffic_is_split_by_weight_and_the_same_request_goes_the_same_way(
    tmp_path: Path,
) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "traffic.json").write_text('{"weights": {"champion": 3, "candidate": 1}}')
    with running(models=folder) as service:
        seen: list[str] = []
        for number in range(200):
            replies = [
                service.ask(
                    "POST", "/v1/models/prices:predict", PRICES_ROW, x_request_id=str(number)
                )
                for _ in range(2)
            ]
            versions = {reply.headers["x-rondo-version"] for reply in replies}
            assert len(versions) == 1
            seen += versions
        without_id = {predict_price(service)[1] for _ in range(60)}
        named = predict_price(service, "prices/labels/champion")

    assert 30 <= seen.count("1") <= 70
    assert without_id == {"1", "2"}
    assert named == (200, "2")


@pytest.mark.parametrize("weights", ['{"champion": 1, "gone": 1}', '{"gone": 1}'])
def test_a_share_of_a_label_that_is_not_there_goes_to_the_champion(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, weights: str
) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "traffic.json").write_text(f'{{"weights": {weights}}}')

    with running(models=folder) as service:
        service.watcher.scan()

        assert {predict_price(service) for _ in range(20)} == {(200, "2")}
        assert predict_price(service, "prices/labels/gone")[0] == 404
        assert service.catalogue.complete
    told = [record.error for record in caplog.records if record.message == "cannot be read"]  # type: ignore[attr-defined]
    assert told == ["traffic.json: no label gone; the champion answers in its place"]
    assert not any(hasattr(record, "label") for record in caplog.records
                   if record.message == "cannot be read")  # fmt: skip


@pytest.mark.parametrize("on_demand", [False, True])
def test_a_share_of_a_version_that_cannot_be_loaded_goes_to_the_champion(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, on_demand: bool
) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "traffic.json").write_text('{"weights": {"champion": 5, "candidate": 5}}')
    file = folder / "prices" / "1" / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])

    with running(models=folder, load_on_demand=on_demand) as service:
        answers = [predict_price(service) for _ in range(20)]
        named = [
            predict_price(service, f"prices/{one}")[0] for one in ("labels/candidate", "versions/1")
        ]
        fallen = service.app.inference.book.events["fallback", "prices"]
        said = [one for one in caplog.messages if one == "champion answers for another label"]
        file.write_bytes(whole)
        service.clock.advance(1)
        service.watcher.scan()
        again = {predict_price(service) for _ in range(20)}

    assert answers == [(200, "2")] * 20
    assert named == [503, 503]
    assert (0 < fallen < 20, len(said)) == (True, 1)
    assert again == {(200, "1"), (200, "2")}


def test_a_version_on_demand_that_failed_is_not_loaded_again_for_a_share(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "traffic.json").write_text('{"weights": {"candidate": 1}}')
    (folder / "prices" / "1" / "model.onnx").write_bytes(b"junk")

    with running(models=folder, load_on_demand=True) as service:
        for _ in range(5):
            predict_price(service)
        misses = service.app.inference.book.events["miss", "prices"]

    assert misses == 2  # the candidate once, and the champion


@pytest.mark.parametrize(
    ("shadow", "copies"), [("candidate", 3), ("champion", 0), ("gone", 0), ("shapes", 0)]
)
def test_a_shadow_gets_a_copy_and_answers_nobody(tmp_path: Path, shadow: str, copies: int) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "traffic.json").write_text(
        f'{{"weights": {{"champion": 1}}, "shadow": "{shadow}"}}'
    )
    with running(models=folder) as service:

        async def ask() -> None:
            for _ in range(3):
                reply = await service.call(
                    "POST", "/v1/models/prices:predict", chunks=[b'{"instances": [[3, "Bonn"]]}']
                )
                assert reply is not None
                assert reply.headers["x-rondo-version"] == "2"
                await asyncio.sleep(0.01)

        asyncio.run(ask())
        found = service.app.inference.book.of("prices", 1).shadowed

    assert found == copies
