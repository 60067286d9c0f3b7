"""The manifests agree with the code: variables, commands, images, ports, paths and times."""

import dataclasses
import re
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from rondo_aggregator.settings import AggregatorSettings
from rondo_core.consumer import WAIT_SECONDS
from rondo_core.health import Health, serve_health
from rondo_core.settings import AwsSettings, ServiceSettings
from rondo_core.telemetry import Metrics
from rondo_gateway.main import STOP_SECONDS
from rondo_gateway.settings import Settings as GatewaySettings
from rondo_gateway.web import health_routes
from rondo_inference.command import BATCH_PROCESSES
from rondo_inference.contracts import operations
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.settings import Settings as InferenceSettings
from rondo_inference.web.server import FINISH_SECONDS
from rondo_local.readiness import free_port
from tests.architecture.packages import ROOT
from tests.deploy.kubernetes_settings import (
    CELERY,
    DOORS,
    SETTINGS,
    celery_settings,
    settings_of,
    worker_settings,
)
from tests.deploy.kubernetes_tools import K8S, Tools
from tests.deploy.kubernetes_view import Overlay, selected

FOLDERS = {
    "aggregator-intake": "aggregator",
    "aggregator-worker": "aggregator",
    "batch-intake": "inference",
    "batch-worker": "inference",
    "bootstrap": "local",
}
CREDENTIALS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
PROBES = ("startup", "readiness", "liveness")
COMPOSE = ROOT / "docker-compose.yml"
EXIT_SECONDS = 30
"""Every process ends so soon after SIGTERM (docs/architecture.md), but for a worker with a task."""
MARGIN_SECONDS = 5


# --- variables, commands and images ---------------------------------------------------------------


def test_each_process_is_there(overlay: Overlay) -> None:
    expected = SETTINGS.keys() - ({"bootstrap"} if overlay.name == "aws" else set())

    assert {pod.name for pod in overlay.our_pods()} == expected


def test_every_variable_is_a_setting_and_can_be_read(overlay: Overlay) -> None:
    _, _, tail = (ROOT / "docs" / "settings.md").read_text("utf-8").partition("## Libraries")
    of_libraries = set(re.findall(r"`([A-Z_]+)=", tail))
    of_all = of_libraries | (CREDENTIALS if overlay.name == "dev" else set())

    for pod in overlay.our_pods():
        fields = {field.name.upper() for field in dataclasses.fields(SETTINGS[pod.name])}
        assert pod.variables.keys() - fields <= of_all, pod.name
        assert settings_of(pod)


def test_only_dev_has_an_emulator_and_both_have_the_usual_names(overlay: Overlay) -> None:
    for pod in overlay.our_pods():
        settings = settings_of(pod)
        assert (settings.aws_endpoint_url is None) == (overlay.name == "aws")
        assert settings.rondo_prefix == AwsSettings.rondo_prefix


def test_every_process_listens_on_all_addresses(overlay: Overlay) -> None:
    found = {
        pod.name: pod.variables.get("HOST", pod.variables.get("HEALTH_HOST"))
        for pod in overlay.our_pods()
        if pod.name != "bootstrap"
    }

    assert set(found.values()) == {"0.0.0.0"}  # noqa: S104 - a container's own addresses


def test_on_aws_one_file_says_what_differs(overlays: dict[str, Overlay], tools: Tools) -> None:
    aws, (file,) = overlays["aws"], tools.read(K8S / "overlays" / "aws" / "settings.yaml")
    (settings,) = file.documents
    told, pods = settings["data"], aws.our_pods()
    triggers = [one["metadata"] for _, one in aws.triggers()]
    (to_redis,) = aws.of("NetworkPolicy")["egress-redis"]["spec"]["egress"]

    assert settings["metadata"]["name"] not in aws.of("ConfigMap")
    assert {settings_of(pod).aws_region for pod in pods} == {told["region"]}
    assert {pod.container["image"] for pod in pods} == {
        f"{told['registry']}/{pod.image}:{told['version']}" for pod in pods
    }
    assert {one["queueURL"].split("/")[3] for one in triggers if "queueURL" in one} == {
        told["account"]
    }
    assert {one["address"] for one in triggers if "address" in one} == {told["redis"]}
    assert to_redis["to"] == [{"ipBlock": {"cidr": told["vpc"]}}]


def test_intake_and_workers_agree_on_their_times(overlay: Overlay) -> None:
    intake, worker = settings_of(overlay.pod("aggregator-intake")), worker_settings(overlay)

    assert isinstance(intake, AggregatorSettings)
    assert intake.task_seconds == worker.task_seconds
    assert intake.lease_seconds == worker.lease_seconds
    assert intake.shard_columns == worker.shard_columns


def test_intake_and_workers_of_batch_jobs_agree_on_times_and_chunks(overlay: Overlay) -> None:
    settings = [settings_of(overlay.pod(name)) for name in BATCH_PROCESSES]
    first, second = ({**vars(one), "worker_processes": None} for one in settings)

    assert first == second


def test_every_command_is_a_program_of_its_image(overlay: Overlay) -> None:
    for pod in overlay.our_pods():
        command, project = pod.container["command"], _project(pod.image)
        if pod.name == "bootstrap":
            assert command == ["python", "-m", "rondo_local.bootstrap"]
        else:
            assert command[0] in project["scripts"], pod.name
    assert overlay.pod("aggregator-intake").container["command"][1:] == ["intake"]
    assert overlay.pod("aggregator-worker").container["command"][1:] == ["worker"]
    for name in BATCH_PROCESSES:
        assert overlay.pod(name).container["command"][1:] == [name]


def test_every_image_is_of_a_folder_in_its_version(overlay: Overlay) -> None:
    for pod in overlay.our_pods():
        assert pod.image == f"rondo/{FOLDERS.get(pod.name, pod.name)}"
        assert str(pod.container["image"]).rpartition(":")[2] == _project(pod.image)["version"]


def test_compose_builds_every_image_and_runs_the_same_stand_ins(
    overlays: dict[str, Overlay], tools: Tools
) -> None:
    (compose,) = tools.read(COMPOSE)[0].documents

    assert compose_images(compose) >= {
        pod.container["image"] if not pod.ours else pod.image for pod in overlays["dev"].pods()
    }


def compose_images(compose: Mapping[str, Any]) -> set[str]:
    """Return what Compose builds, and what it pulls: ours without a version."""
    images = {(str(one["image"]), "build" in one) for one in compose["services"].values()}
    return {image.partition(":")[0] if built else image for image, built in images}


def _project(image: str) -> dict[str, Any]:
    """Return ``[project]`` of the folder that an image is named for."""
    name = image.removeprefix("rondo/")
    (file,) = [*ROOT.glob(f"services/{name}/pyproject.toml"), *ROOT.glob(f"{name}/pyproject.toml")]
    return dict(tomllib.loads(file.read_text("utf-8"))["project"])


# --- ports and paths ------------------------------------------------------------------------------


def test_every_port_is_the_one_that_the_process_listens_on(overlay: Overlay) -> None:
    for pod in overlay.our_pods():
        match settings_of(pod):
            case GatewaySettings(port=port) | InferenceSettings(port=port):
                assert pod.ports == {"http": port}
            case ServiceSettings(health_port=port):
                assert pod.ports == {"health": port}
            case _:
                assert "ports" not in pod.container


def test_every_probe_and_scrape_asks_for_a_page_that_is_there(
    overlay: Overlay, pages: dict[str, set[str]]
) -> None:
    for pod in overlay.our_pods():
        if pod.name == "bootstrap":
            continue
        asked = {name: pod.container[f"{name}Probe"]["httpGet"] for name in PROBES}
        notes = pod.owner["spec"]["template"]["metadata"]["annotations"]
        paths = {probe["path"] for probe in asked.values()} | {notes["prometheus.io/path"]}
        assert asked["startup"] == asked["liveness"]
        assert (asked["liveness"]["path"], asked["readiness"]["path"]) == ("/healthz", "/readyz")
        assert paths <= pages.get(pod.name, pages["worker"])
        assert {probe["port"] for probe in asked.values()} == pod.ports.keys()
        assert [notes["prometheus.io/port"]] == [str(port) for port in pod.ports.values()]


@pytest.fixture(scope="module")
def pages() -> dict[str, set[str]]:
    """The pages for operators that each kind of process answers."""
    of_inference = operations.routes(Catalogue(), CollectorRegistry(), bool)
    settings = ServiceSettings(health_port=free_port())
    server = serve_health(settings, Health(), Metrics())
    address = f"http://{settings.health_host}:{settings.health_port}"
    answered = {
        path for path in ("/healthz", "/metrics", "/readyz", "/ping") if _is(address + path)
    }
    server.shutdown()
    server.server_close()
    return {
        "gateway": {str(getattr(route, "path", "")) for route in health_routes.router.routes},
        "inference": {route.pattern.pattern for route in of_inference},
        "worker": answered,
    }


def _is(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - ours
            return bool(answer.status == HTTPStatus.OK)
    except urllib.error.HTTPError as exc:
        return exc.code != HTTPStatus.NOT_FOUND


def test_every_service_leads_to_a_port_of_its_pods(overlay: Overlay) -> None:
    services = overlay.of("Service")

    assert services.keys() == DOORS | ({"localstack", "redis"} if overlay.name == "dev" else set())
    for name, service in services.items():
        pod = overlay.pod(name)
        assert selected({"matchLabels": service["spec"]["selector"]}, pod.labels)
        assert {port["targetPort"] for port in service["spec"]["ports"]} == pod.ports.keys()


def test_in_dev_both_doors_sign_links_for_the_address_that_is_forwarded(
    overlays: dict[str, Overlay],
) -> None:
    signed = {overlays["dev"].pod(name).variables["UPLOAD_ENDPOINT_URL"] for name in DOORS}

    assert signed == {"http://127.0.0.1:4566"}


def test_what_dev_calls_is_a_service_of_dev(overlays: dict[str, Overlay]) -> None:
    dev = overlays["dev"]
    called = {
        urlsplit(str(settings_of(dev.pod("gateway")).aws_endpoint_url)).netloc,
        *(
            urlsplit(celery_settings(dev, service, "worker").redis_url.value).netloc.split("@")[1]
            for service in CELERY
        ),
    }

    offered = {
        f"{name}{namespace}:{port['port']}"
        for name, service in dev.of("Service").items()
        for port in service["spec"]["ports"]
        for namespace in ("", f".{service['metadata']['namespace']}")
    }
    assert called <= offered


# --- times ----------------------------------------------------------------------------------------


def test_every_process_has_the_time_that_it_needs_to_end(overlay: Overlay) -> None:
    inference = settings_of(overlay.pod("inference"))

    assert isinstance(inference, InferenceSettings)
    needed = {
        **{
            f"{service}-worker": celery_settings(overlay, service, "worker").task_seconds
            for service in CELERY
        },
        "gateway": STOP_SECONDS,
        "inference": inference.drain_seconds + FINISH_SECONDS,
    }
    for pod in overlay.our_pods():
        if pod.name != "bootstrap":
            seconds = needed.get(pod.name, WAIT_SECONDS)
            assert pod.grace_seconds >= max(seconds + MARGIN_SECONDS, EXIT_SECONDS), pod.name


def test_an_evaluation_may_take_ten_minutes_before_the_process_counts_as_stuck(
    overlay: Overlay,
) -> None:
    probe = overlay.pod("evaluator").container["livenessProbe"]

    patience = Health().limit_seconds + probe["periodSeconds"] * probe["failureThreshold"]

    assert patience >= 600
