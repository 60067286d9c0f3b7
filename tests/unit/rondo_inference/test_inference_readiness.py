"""What probes are told: whether the configured models are warm, and whether all of them answer."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.exported import (
    identity_onnx,
    prices_export,
    sample_folder,
    write_onnx,
    write_version,
)

PROBES = ("/ping", "/readyz", "/v2/health/ready")


def statuses(service: Service) -> tuple[int, ...]:
    return tuple(service.ask("GET", path).status for path in PROBES)


def junk(folder: Path) -> None:
    write_onnx(folder, "j3", b"junk")


def another_digest(folder: Path) -> None:
    write_version(prices_export().with_file("golden.safetensors", b"else"), folder)


def one_of_several(folder: Path) -> None:
    sample_folder(folder)
    junk(folder)


def labels(folder: Path) -> None:
    write_version(prices_export(), folder)
    (folder / "prices" / "labels.json").write_text("[")


def nothing(folder: Path) -> None:
    (folder / "no-version").mkdir()


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (junk, "model 'j3' cannot be loaded"),
        (another_digest, "model 'prices' cannot be loaded"),
        (one_of_several, "model 'j3' cannot be loaded"),
        (labels, "model 'prices' cannot be read"),
        (nothing, "the folder of models holds none: a model is NAME/VERSION/model.onnx"),
    ],
)
def test_oip_6_a_folder_is_not_ready_while_a_model_cannot_be_served(
    tmp_path: Path, write: Callable[[Path], None], says: str
) -> None:
    write(tmp_path)
    with running(models=tmp_path) as service:
        assert statuses(service) == (503, 503, 503)
        assert service.ask("GET", "/readyz").body.decode() == f"not ready: {says}\n"
        assert service.ask("GET", "/healthz").status == 200


def test_oip_6_a_folder_that_is_mended_is_ready(tmp_path: Path) -> None:
    junk(tmp_path)
    with running(models=tmp_path) as service:
        write_onnx(tmp_path, "j3", identity_onnx())
        service.watcher.scan()

        assert statuses(service) == (200, 200, 200)


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Service]:
    write_version(prices_export(1), tmp_path)
    with running(models=tmp_path) as service:
        yield service


def test_oip_6_a_corrupt_new_version_changes_nothing_while_the_old_one_answers(
    ready: Service, tmp_path: Path
) -> None:
    write_onnx(tmp_path, "prices", b"junk", version=2)
    ready.watcher.scan()

    assert statuses(ready) == (200, 200, 200)


def test_oip_6_a_corrupt_candidate_does_not_take_a_replica_out_of_service(tmp_path: Path) -> None:
    folder = sample_folder(tmp_path)
    (folder / "prices" / "1" / "model.onnx").write_bytes(b"junk")
    with running(models=folder) as service:
        assert statuses(service) == (200, 200, 200)


def test_oip_6_of_a_corrupt_new_model_only_the_protocol_says_not_ready(
    ready: Service, tmp_path: Path
) -> None:
    junk(tmp_path)
    ready.watcher.scan()

    assert statuses(ready) == (200, 200, 503)
    assert ready.ask("GET", "/v2/health/ready").json == {"live": False, "ready": False}


def test_oip_6_a_model_that_does_not_fit_is_not_ready_like_a_corrupt_one(tmp_path: Path) -> None:
    write_version(prices_export(1), tmp_path)
    with running(models=tmp_path, model_memory_bytes=1) as service:
        assert statuses(service) == (503, 503, 503)


def test_oip_6_an_unloaded_model_is_not_waited_for(tmp_path: Path) -> None:
    one_of_several(tmp_path)
    with running(models=tmp_path) as service:
        unloaded = service.ask("POST", "/v2/repository/models/j3/unload").status
        service.watcher.scan()

        assert (unloaded, statuses(service)) == (200, (200, 200, 200))


def test_a_server_that_follows_an_empty_store_is_ready() -> None:
    with running() as service:
        service.watcher.scan()

        assert statuses(service) == (200, 200, 200)
