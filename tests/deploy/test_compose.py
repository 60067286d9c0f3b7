"""docker-compose.yml says nothing that the code does not know, and leaves out nothing it needs."""

import dataclasses
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rondo_aggregator.settings import AggregatorSettings
from rondo_core.settings import AwsSettings, read_settings
from rondo_dispatcher.settings import Settings as DispatcherSettings
from rondo_evaluator.settings import Settings as EvaluatorSettings
from rondo_gateway.settings import Settings as GatewaySettings
from rondo_inference.batch.settings import BatchSettings
from rondo_inference.command import BATCH_PROCESSES, health_port
from rondo_inference.settings import Settings as InferenceSettings
from rondo_local.bootstrap import BootstrapSettings
from rondo_local.demo.containers import WORDS
from rondo_local.demo.containers import Settings as DemoSettings
from rondo_local.demo.data import OWNED_CLASSES
from tests.architecture.packages import ROOT
from tests.deploy.compose import DOCKERFILES, Dockerfile, compose_file, ours

COMPOSE = compose_file()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ours(COMPOSE)
DEMO = {name: one for name, one in OURS.items() if one["image"].startswith("rondo/demo:")}
SETTINGS: dict[str, type] = {
    "aggregator": AggregatorSettings,
    "aggregator-worker": AggregatorSettings,
    "batch-intake": BatchSettings,
    "batch-worker": BatchSettings,
    "bootstrap": BootstrapSettings,
    "dispatcher": DispatcherSettings,
    "evaluator": EvaluatorSettings,
    "gateway": GatewaySettings,
    "inference": InferenceSettings,
    **dict.fromkeys(DEMO, DemoSettings),
}
OF_LIBRARIES = {
    *("AWS_ACCESS_KEY_ID", "AWS_EC2_METADATA_DISABLED", "AWS_SECRET_ACCESS_KEY"),
    *("HOME", "PATH"),
    *("KERAS_BACKEND", "ORT_DISABLE_TELEMETRY", "TF_CPP_MIN_LOG_LEVEL"),
}
DOORS = {"gateway": 8080, "inference": 8081, "localstack": 4566}

each_of_ours = pytest.mark.parametrize("name", OURS)


def environment(name: str) -> dict[str, str]:
    """Variables of a service: its image's, and what Compose adds."""
    return Dockerfile.read(built_from(name)).environment | given(name)


def given(name: str) -> dict[str, str]:
    """Variables of a service that Compose adds."""
    found = OURS[name].get("environment", {})
    return {variable: str(value) for variable, value in found.items()}


def fields(*names: str) -> set[str]:
    """Variables that the programs of services read."""
    kinds = {SETTINGS[name] for name in names}
    return {field.name.upper() for kind in kinds for field in dataclasses.fields(kind)}


def built_from(name: str) -> Path:
    builds = [
        one["build"]
        for one in OURS.values()
        if one["image"] == OURS[name]["image"]
        if "build" in one
    ]
    (build,) = builds
    assert build["context"] == "."
    return ROOT / str(build["dockerfile"])


@each_of_ours
def test_every_variable_is_a_setting_of_the_program_that_gets_it(name: str) -> None:
    assert given(name).keys() - fields(name) - OF_LIBRARIES == set()


@each_of_ours
def test_every_variable_of_an_image_is_a_setting_of_a_program_in_it(name: str) -> None:
    sharing = [one for one in OURS if built_from(one) == built_from(name)]
    own = Dockerfile.read(built_from(name)).environment

    assert own.keys() - fields(*sharing) - OF_LIBRARIES == set()


@each_of_ours
def test_the_variables_are_enough_to_start(name: str) -> None:
    kind: type[object] = SETTINGS[name]
    settings = read_settings(kind, environment(name))

    if isinstance(settings, AwsSettings) and "AWS_REGION" in environment(name):
        assert settings.aws_endpoint_url == "http://localstack:4566"


@each_of_ours
def test_every_image_is_built_once_here_from_a_dockerfile(name: str) -> None:
    image, file = OURS[name]["image"], built_from(name)
    labels = Dockerfile.read(file).labels

    assert file in DOCKERFILES
    assert image.replace("demo", "local") == f"{labels['title']}:{labels['version']}"
    assert ("build" in OURS[name]) != (OURS[name].get("pull_policy") == "never")


def test_every_dockerfile_is_used() -> None:
    assert {built_from(name) for name in OURS} == set(DOCKERFILES)


def test_images_of_others_are_pinned() -> None:
    others = {one["image"] for name, one in SERVICES.items() if name not in OURS}

    assert others == {"localstack/localstack:4.9.2", "redis:7-bookworm"}


def test_only_the_doors_publish_ports_and_on_loopback_only() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}

    assert published == {
        "gateway": [f"127.0.0.1:8080:{GatewaySettings.port}"],
        "inference": [f"127.0.0.1:8081-8090:{InferenceSettings.port}"],
        "localstack": ["127.0.0.1:4566:4566"],
    }
    assert {name for name, one in SERVICES.items() if "door" in one.get("networks", [])} == {*DOORS}
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_another_port_of_the_emulator_is_told_to_everybody() -> None:
    other = compose_file({"RONDO_AWS_PORT": "4577"})

    assert "4566" not in str({**other["services"]})
    assert other["services"]["localstack"]["ports"] == ["127.0.0.1:4577:4577"]


@each_of_ours
def test_ours_run_locked_up_and_may_finish_what_they_do(name: str) -> None:
    service = OURS[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108
    if service.get("restart") == "unless-stopped":
        assert service["stop_grace_period"] == "30s"


@pytest.mark.parametrize("name", SERVICES)
def test_nobody_starts_before_what_it_needs_can_be_used(name: str) -> None:
    needed = {
        other: one["condition"] for other, one in SERVICES[name].get("depends_on", {}).items()
    }

    assert needed == {other: ready_when(other) for other in needed}
    assert "sleep" not in str(SERVICES[name])


def ready_when(name: str) -> str:
    """Return what others can wait for: its end, its health, or where it has none its start."""
    if name in {"bootstrap", "demo-model"}:
        return "service_completed_successfully"
    return "service_started" if name in DEMO else "service_healthy"


@each_of_ours
def test_every_address_is_a_service_in_a_network_of_the_caller(name: str) -> None:
    def networks(one: str) -> set[str]:
        service = SERVICES[one]
        _, _, shared = service.get("network_mode", "").partition(":")
        return networks(shared) if shared else set(service["networks"])

    for variable, value in environment(name).items():
        host = urlsplit(value).hostname if "://" in value else None
        if host not in {None, "127.0.0.1"}:
            assert networks(name) & networks(str(host)), f"{name} cannot reach {variable}"


def test_clients_reach_the_store_by_the_name_that_links_are_signed_for() -> None:
    """On the host by the published port, in the demo by sharing the store's network namespace."""
    (published,) = SERVICES["localstack"]["ports"]
    signed = {
        SERVICES[name]["environment"]["UPLOAD_ENDPOINT_URL"] for name in ("gateway", "inference")
    }

    assert signed == {f"http://{published.rpartition(':')[0]}"}
    assert {one["network_mode"] for one in DEMO.values()} == {"service:localstack"}


def test_redis_asks_for_the_password_that_intakes_and_workers_have() -> None:
    command = SERVICES["redis"]["command"]
    password = command[command.index("--requirepass") + 1]

    for name in ("aggregator", "aggregator-worker", "batch-intake", "batch-worker"):
        assert urlsplit(OURS[name]["environment"]["REDIS_URL"]).password == password


def test_batch_jobs_are_done_by_the_programs_that_inferences_image_has_for_them() -> None:
    words = {word for name in BATCH_PROCESSES for word in OURS[name]["command"]}

    assert words == {*BATCH_PROCESSES}
    assert {OURS[name]["image"] for name in BATCH_PROCESSES} == {OURS["inference"]["image"]}
    for name in BATCH_PROCESSES:
        settings = read_settings(BatchSettings, environment(name))
        command = "\0".join(["rondo-inference", *OURS[name]["command"], ""]).encode()
        assert health_port(command, environment(name)) == settings.health_port
        assert settings.health_host == "0.0.0.0"  # noqa: S104  (in a container)


def test_the_operators_token_is_the_same_for_all() -> None:
    chosen = OURS["bootstrap"]["environment"]["OPERATOR_TOKEN"]

    assert {one["environment"]["RONDO_TOKEN"] for one in DEMO.values()} == {chosen}


@pytest.mark.parametrize("name", SERVICES.keys() - OURS.keys())
def test_others_have_a_health_check_here(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


def test_the_demo_has_every_owner_of_the_digits_and_words_that_the_program_knows() -> None:
    owners = {one["command"][2] for one in DEMO.values() if one["command"][1] == "own"}

    assert owners == OWNED_CLASSES.keys()
    assert owners <= DEMO["demo"]["depends_on"].keys()
    assert {one["command"][1] for one in DEMO.values()} == WORDS.keys()
    assert {tuple(one["profiles"]) for one in DEMO.values()} == {("demo",)}


def test_every_variable_of_the_file_is_explained() -> None:
    names = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    page = (ROOT / "docs" / "containers.md").read_text()

    assert {name for name in names if f"`{name}`" not in page} == set()
