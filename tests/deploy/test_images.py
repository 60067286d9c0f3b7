"""Every image is built in the same few steps, runs as nobody in particular, and checks itself."""

import json
import re
import tomllib

import pytest

from rondo_core.program import READY_PATH
from rondo_core.settings import ServiceSettings
from rondo_gateway.settings import Settings as GatewaySettings
from rondo_gateway.web.health_routes import router
from rondo_inference.contracts import operations
from rondo_inference.settings import Settings as InferenceSettings
from tests.architecture.packages import ROOT
from tests.deploy.compose import DOCKERFILES, Dockerfile

IMAGES = {file.parent.name: Dockerfile.read(file) for file in DOCKERFILES}
SERVICES = {name: image for name, image in IMAGES.items() if name != "local"}
PORTS = {
    "aggregator": ServiceSettings.health_port,
    "dispatcher": ServiceSettings.health_port,
    "evaluator": ServiceSettings.health_port,
    "gateway": GatewaySettings.port,
    "inference": InferenceSettings.port,
}
MAX_LINES = 26

SAGEMAKER = "com.amazonaws.sagemaker.capabilities."

each_image = pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
each_service = pytest.mark.parametrize("name", SERVICES)


def test_every_service_has_an_image() -> None:
    services = {file.parent.name for file in ROOT.glob("services/*/pyproject.toml")}

    assert SERVICES.keys() == services == PORTS.keys()


@each_image
def test_an_image_is_short_and_built_from_the_base_that_is_asked_for(image: Dockerfile) -> None:
    bases = [rest for word, rest in image.instructions if word == "FROM"]

    assert len(image.path.read_text().splitlines()) <= MAX_LINES
    assert image.instructions[0] == ("ARG", "PYTHON_IMAGE=python:3.11-slim-bookworm")
    assert bases == ["${PYTHON_IMAGE} AS build", "build AS wheels", "${PYTHON_IMAGE}"]


@each_image
def test_an_image_holds_what_was_installed_without_an_index(image: Dockerfile) -> None:
    last = [word for word, _ in image.instructions].index("LABEL")  # begins the last stage
    steps = [rest for word, rest in image.instructions[last:] if word in {"COPY", "ADD", "RUN"}]

    assert steps[0] == "--from=build /app /app"
    assert "--no-index --find-links /wheels" in steps[1]
    assert len(steps) == 2


@each_image
def test_an_image_runs_as_a_numeric_user_and_says_what_it_is(image: Dockerfile) -> None:
    project = tomllib.loads((image.path.parent / "pyproject.toml").read_text())["project"]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image.last("USER") or "")
    assert {key: one for key, one in image.labels.items() if SAGEMAKER not in key} == {
        "title": f"rondo/{image.path.parent.name}",
        "version": project["version"],
        "licenses": project["license"],
    }


@each_service
def test_all_services_have_the_same_shape(name: str) -> None:
    def shape(image: Dockerfile) -> list[tuple[str, str]]:
        own = {"ENV", "EXPOSE"}
        return [
            (word, "" if word in own else _of_any_service(image, rest))
            for word, rest in image.instructions
        ]

    assert shape(SERVICES[name]) == shape(SERVICES["gateway"])


def _of_any_service(image: Dockerfile, rest: str) -> str:
    own = re.sub(rf" {re.escape(SAGEMAKER)}\S+", "", rest)
    return own.replace(image.path.parent.name, "SERVICE")


def test_mce_1_the_image_of_inference_says_what_sagemaker_may_do_with_it() -> None:
    found = SERVICES["inference"].labels

    assert {key: one for key, one in found.items() if SAGEMAKER in key} == {
        f"{SAGEMAKER}accept-bind-to-port": "true",
        f"{SAGEMAKER}bidirectional-streaming": "true",
        f"{SAGEMAKER}multi-models": "true",
    }


@each_service
def test_an_image_starts_and_checks_the_command_of_its_distribution(name: str) -> None:
    image = SERVICES[name]
    project = tomllib.loads((image.path.parent / "pyproject.toml").read_text())["project"]
    _, _, check = (image.last("HEALTHCHECK") or "").partition("CMD ")

    assert image.entry_point == list(project["scripts"])
    assert json.loads(check) == [*image.entry_point, "health"]


@each_service
def test_an_image_listens_to_everybody_on_the_port_that_the_code_takes(name: str) -> None:
    host = "HEALTH_HOST" if PORTS[name] == ServiceSettings.health_port else "HOST"

    assert SERVICES[name].environment[host] == "0.0.0.0"  # noqa: S104  (in a container)
    assert SERVICES[name].last("EXPOSE") == str(PORTS[name])
    if name == "inference":  # its batch processes are workers
        assert SERVICES[name].environment["HEALTH_HOST"] == "0.0.0.0"  # noqa: S104


def test_what_a_health_check_asks_for_is_answered_by_those_with_routes_of_their_own() -> None:
    names = [route.name for route in operations.routes(None, None, None)]  # type: ignore[arg-type]

    assert READY_PATH in {getattr(route, "path", None) for route in router.routes}
    assert READY_PATH.removeprefix("/") in names


def test_only_what_an_image_is_made_of_is_sent_to_the_builder() -> None:
    lines = [one for one in (ROOT / ".dockerignore").read_text().splitlines() if one[:1] != "#"]
    admitted = [line[1:] for line in lines if line.startswith("!")]
    allowed = r"constraints\.txt|(shared|client|local|services/\*)/(pyproject\.toml|src)"

    assert lines[0] == "*"
    assert [path for path in admitted if not re.fullmatch(allowed, path)] == []
    assert [path for path in admitted if not list(ROOT.glob(path))] == []
