"""What somebody unloads stays unloaded until somebody loads it, whatever door is knocked at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.exported import prices_export, sample_folder, write_version

ROW = {"instances": [[3, "Bonn"]]}
REPOSITORY = "/v2/repository/models/prices"


@pytest.fixture(params=[False, True], ids=["loaded at once", "on demand"])
def unloaded(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    folder = sample_folder(tmp_path)
    with running(models=folder, load_on_demand=request.param) as service:
        assert service.ask("POST", f"{REPOSITORY}/unload").status == 200
        yield service


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/prices"),
        ("GET", "/v2/models/prices/versions/1"),
        ("GET", "/v1/models/prices/metadata"),
        ("POST", "/v1/models/prices:predict"),
        ("POST", "/v1/models/prices/labels/candidate:predict"),
        ("POST", "/v1/models/prices/versions/1:predict"),
        ("POST", "/invocations?model=prices"),
        ("GET", "/page/models/prices"),
    ],
)
def test_oip_8_no_request_loads_what_was_unloaded(
    unloaded: Service, method: str, path: str
) -> None:
    unloaded.watcher.scan()

    reply = unloaded.ask(method, path, ROW if method == "POST" else b"")

    assert (reply.status, b"unloaded" in reply.body) == (503, True)
    assert not [slot.served for slot in unloaded.catalogue.of("prices") if slot.served]


def test_oip_8_the_index_says_that_it_was_unloaded(unloaded: Service) -> None:
    entries = unloaded.ask("POST", "/v2/repository/index", {}).json

    found = [(one["version"], one["state"], one["reason"]) for one in entries
             if one["name"] == "prices"]  # fmt: skip
    assert found == [("1", "UNAVAILABLE", "unloaded"), ("2", "UNAVAILABLE", "unloaded")]


def test_oip_8_a_new_version_stays_unloaded_too(unloaded: Service, tmp_path: Path) -> None:
    write_version(prices_export(3), tmp_path)
    unloaded.watcher.scan()

    assert unloaded.ask("POST", "/v1/models/prices:predict", ROW).status == 503
    loaded = unloaded.ask("POST", f"{REPOSITORY}/load").status
    reply = unloaded.ask("POST", "/v1/models/prices:predict", ROW)
    assert (loaded, reply.status, reply.headers["x-rondo-version"]) == (200, 200, "3")


def test_oip_8_a_load_brings_the_other_labels_back(unloaded: Service) -> None:
    unloaded.ask("POST", f"{REPOSITORY}/load")
    unloaded.watcher.scan()

    replies = [
        unloaded.ask("POST", f"/v1/models/prices/{one}:predict", ROW)
        for one in ("labels/champion", "labels/candidate", "versions/1")
    ]
    assert [reply.headers["x-rondo-version"] for reply in replies] == ["2", "1", "1"]


def test_oip_8_what_is_unloaded_is_not_unloaded_again_and_an_unknown_model_is_not_found(
    unloaded: Service,
) -> None:
    assert unloaded.ask("POST", f"{REPOSITORY}/unload").status == 404
    assert unloaded.ask("POST", "/v2/repository/models/cats/unload").status == 404


def test_oip_8_the_memory_of_what_was_unloaded_is_free(unloaded: Service) -> None:
    assert "prices" not in {served.name for served in unloaded.parts.memory.loaded}


def test_mme_5_what_was_unloaded_is_not_there_until_it_is_loaded(tmp_path: Path) -> None:
    write_version(prices_export(), tmp_path)
    load = {"model_name": "h2", "url": str(tmp_path / "prices")}
    with running(many=True) as service:
        service.ask("POST", "/models", load)
        service.ask("POST", "/v2/repository/models/h2/unload")

        gone = [
            service.ask("GET", "/models/h2").status,
            service.ask("POST", "/models/h2/invoke", ROW).status,
            service.ask("DELETE", "/models/h2").status,
        ]
        listed = service.ask("GET", "/models").json
        again = service.ask("POST", "/models", load).status
        answer = service.ask("POST", "/models/h2/invoke", ROW).status

    assert (gone, listed) == ([404, 404, 404], {"models": []})
    assert (again, answer) == (200, 200)
