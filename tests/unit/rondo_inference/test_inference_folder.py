"""A folder of versions that changes: what is served of it, and what is said of the rest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rondo_core.errors import Unavailable
from tests.unit.rondo_inference.asked import PRICES_ROW, predict_price, running
from tests.unit.rondo_inference.exported import (
    prices_export,
    sample_folder,
    write_onnx,
    write_version,
)


def test_a_folder_is_read_again_when_it_changes(tmp_path: Path) -> None:
    write_version(prices_export(1), tmp_path)
    with running(models=tmp_path) as service:
        first = predict_price(service)
        write_version(prices_export(2), tmp_path)
        service.watcher.scan()
        second = predict_price(service)
        (tmp_path / "prices" / "labels.json").write_text('{"champion": 1}')
        service.watcher.scan()

        assert [first, second, predict_price(service)] == [(200, "1"), (200, "2"), (200, "1")]
        assert predict_price(service, "prices/labels/v2") == (200, "2")
        assert predict_price(service, "prices/versions/2") == (200, "2")


def spoil(name: str, data: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (spoil("labels.json", b"["), "labels.json"),
        (spoil("labels.json", b'{"champion": 9}'), "'champion' is version 9, not there"),
        (spoil("labels.json", b'{"": 1}'), "Expected `str` matching regex"),
        (spoil("labels.json", b'{"a/b": 1}'), "labels.json: Expected `str` matching regex"),
        (spoil("traffic.json", b"{}"), "not a traffic split"),
        (spoil("1/version.json", b"3"), "version.json"),
    ],
)
def test_a_malformed_folder_is_counted_and_what_is_served_stays(
    tmp_path: Path, change: Callable[[Path], None], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_version(prices_export(1), tmp_path)
    with running(models=tmp_path) as service:
        change(tmp_path / "prices")
        service.watcher.scan()

        assert predict_price(service)[0] == 200
    assert any(text in str(getattr(record, "error", "")) for record in caplog.records)


@pytest.mark.parametrize("name", ["golden.safetensors", "model.onnx", "spec.json"])
def test_a_spoiled_file_of_a_version_is_not_served(tmp_path: Path, name: str) -> None:
    write_version(prices_export(1), tmp_path)
    file = tmp_path / "prices" / "1" / name
    file.write_bytes(file.read_bytes()[:-1])

    with running(models=tmp_path) as service:
        assert predict_price(service)[0] == 503


def test_a_missing_golden_file_is_not_served(tmp_path: Path) -> None:
    write_version(prices_export(1), tmp_path)
    (tmp_path / "prices" / "1" / "golden.safetensors").unlink()

    with running(models=tmp_path) as service:
        assert predict_price(service)[0] == 503


@pytest.mark.parametrize("late", ["export.json", "spec.json"])
def test_a_version_that_is_half_copied_is_not_served_before_it_is_verified(
    tmp_path: Path, late: str
) -> None:
    write_version(prices_export(1), tmp_path)
    file = tmp_path / "prices" / "1" / late
    held_back = file.read_bytes()
    file.unlink()

    with running(models=tmp_path) as service:
        early = predict_price(service)[0]
        file.write_bytes(held_back)
        service.watcher.scan()
        served = service.catalogue.find("prices")

        assert (early, predict_price(service)[0]) == (503, 200)
    assert served.spec is not None


def test_a_version_with_another_spec_is_another_version(tmp_path: Path) -> None:
    write_version(prices_export(1), tmp_path)
    with running(models=tmp_path) as service:
        spoil("1/spec.json", b"{}")(tmp_path / "prices")
        service.watcher.scan()
        failure = service.catalogue.resolve("prices").failure

        assert "spec.json" in failure
        assert predict_price(service)[0] == 200


def test_on_demand_a_model_is_loaded_by_its_first_request(tmp_path: Path) -> None:
    with running(
        models=sample_folder(tmp_path), load_on_demand=True, pinned_models="shapes"
    ) as service:
        service.watcher.scan()
        before = [slot.wanted.model for slot in service.catalogue.slots() if slot.served]
        first, second = predict_price(service), predict_price(service)
        lines = service.ask("GET", "/metrics").body.decode()

    assert before == ["shapes", "shapes"]
    assert first == second == (200, "2")
    assert 'rondo_inference_models_total{event="miss",model="prices"} 1.0' in lines
    assert 'rondo_inference_models_total{event="load",model="prices"} 1.0' in lines


def test_a_label_that_looks_like_a_version_is_that_version(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "labels.json").write_text('{"v2": 1}')
    with running(models=folder) as service:
        assert predict_price(service)[0] == 404
    (told,) = [record for record in caplog.records if record.message == "cannot be read"]
    assert (told.model, told.error) == (  # type: ignore[attr-defined]
        "prices",
        "labels.json: 'v2' is version 1, and names another",
    )


def test_a_folder_whose_name_no_path_can_have_is_no_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_onnx(tmp_path, "a:predict", prices_export().files["model.onnx"])
    with running(models=tmp_path) as service:
        assert service.catalogue.names() == []
    (told,) = [record for record in caplog.records if record.message == "cannot be read"]
    assert told.error == "the name of a model has no colon"  # type: ignore[attr-defined]


def test_a_version_that_goes_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = sample_folder(tmp_path)
    caplog.set_level("INFO")
    with running(models=folder) as service:
        (folder / "prices" / "2").rename(tmp_path / ".gone")
        service.watcher.scan()

        assert predict_price(service) == (200, "1")
    told = [(one.model, one.label) for one in caplog.records if one.message == "label gone"]  # type: ignore[attr-defined]
    assert told == [("prices", "v2")]


def test_no_error_tells_where_the_folder_is(tmp_path: Path) -> None:
    write_version(prices_export(1), tmp_path)
    (tmp_path / "prices" / "1" / "export.json").unlink()
    with running(models=tmp_path) as service:
        body = service.ask("POST", "/v1/models/prices:predict", PRICES_ROW).json

    assert body == {
        "error": "version 1 of model 'prices' is not served: "
        "export.json does not exist, though spec.json does: they go together"
    }


def test_a_folder_that_is_gone_leaves_what_is_served(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path / "models")
    with running(models=folder) as service:
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(Unavailable):
            service.watcher.scan()

        assert predict_price(service) == (200, "2")


def test_a_model_that_is_gone_is_not_found_when_it_is_to_be_loaded(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path / "models")
    with running(models=folder, load_on_demand=True) as service:
        (folder / "prices").rename(tmp_path / "elsewhere")

        assert predict_price(service)[0] == 503
        service.watcher.scan()
        assert predict_price(service)[0] == 404
