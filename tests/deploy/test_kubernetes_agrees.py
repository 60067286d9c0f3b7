"""The manifests agree with the code: variables, commands, images, ports, paths, queues, times."""

import dataclasses
import json
import re
import tomllib
import typing
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from rondo_aggregator.adapters.celery_app import new_app
from rondo_aggregator.settings import AggregatorSettings
from rondo_core.consumer import WAIT_SECONDS
from rondo_core.health import Health, serve_health
from rondo_core.rows import RoundRow, RunRow
from rondo_core.settings import AwsSettings, ServiceSettings, read_settings
from rondo_core.telemetry import GaugeName, Metrics
from rondo_core.topology import INDEX, QUEUES, Names
from rondo_dispatcher.settings import Settings as DispatcherSettings
from rondo_evaluator.settings import Settings as EvaluatorSettings
from rondo_gateway.main import STOP_SECONDS
from rondo_gateway.settings import Settings as GatewaySettings
from rondo_gateway.web import health_routes
from rondo_inference.contracts import operations
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.settings import Settings as InferenceSettings
from rondo_inference.web.server import FINISH_SECONDS
from rondo_local.bootstrap import BootstrapSettings
from rondo_local.readiness import free_port
from tests.architecture.packages import ROOT
from tests.deploy.kubernetes_tools import K8S, Tools
from tests.deploy.kubernetes_view import Overlay, Pod, selected

SETTINGS: dict[str, type[AwsSettings]] = {
    "aggregator-intake": AggregatorSettings,
    "aggregator-worker": AggregatorSettings,
    "bootstrap": BootstrapSettings,
    "dispatcher": DispatcherSettings,
    "evaluator": EvaluatorSettings,
    "gateway": GatewaySettings,
    "inference": InferenceSettings,
}
QUEUE_OF = {"aggregator-intake": "aggregator", "dispatcher": "dispatcher", "evaluator": "evaluator"}
FOLDERS = {
    "aggregator-intake": "aggregator",
    "aggregator-worker": "aggregator",
    "bootstrap": "local",
}
CREDENTIALS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
PROBES = ("startup", "readiness", "liveness")
COMPOSE = ROOT / "docker-compose.yml"
DOORS = {"gateway", "inference", "localstack", "redis"}
EXIT_SECONDS = 30
"""Every process ends so soon after SIGTERM (docs/architecture.md), but for a worker with a task."""
MARGIN_SECONDS = 5


def settings_of(pod: Pod) -> AwsSettings:
    return read_settings(SETTINGS[pod.name], pod.variables)


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


def test_intake_and_workers_agree_on_their_times(overlay: Overlay) -> None:
    intake, worker = (
        settings_of(overlay.pod(name)) for name in ("aggregator-intake", "aggregator-worker")
    )

    assert isinstance(intake, AggregatorSettings)
    assert isinstance(worker, AggregatorSettings)
    assert intake.task_seconds == worker.task_seconds
    assert intake.lease_seconds == worker.lease_seconds
    assert intake.shard_columns == worker.shard_columns


def test_every_command_is_a_program_of_its_image(overlay: Overlay) -> None:
    for pod in overlay.our_pods():
        command, project = pod.container["command"], _project(pod.image)
        if pod.name == "bootstrap":
            assert command == ["python", "-m", "rondo_local.bootstrap"]
        else:
            assert command[0] in project["scripts"], pod.name
    assert overlay.pod("aggregator-intake").container["command"][1:] == ["intake"]
    assert overlay.pod("aggregator-worker").container["command"][1:] == ["worker"]


def test_every_image_is_of_a_folder_in_its_version(overlay: Overlay) -> None:
    for pod in overlay.our_pods():
        assert pod.image == f"rondo/{FOLDERS.get(pod.name, pod.name)}"
        assert str(pod.container["image"]).rpartition(":")[2] == _project(pod.image)["version"]


@pytest.mark.skipif(not COMPOSE.exists(), reason="there is no docker-compose.yml")
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

    assert services.keys() == {pod.name for pod in overlay.pods() if pod.name in DOORS}
    for name, service in services.items():
        pod = overlay.pod(name)
        assert selected({"matchLabels": service["spec"]["selector"]}, pod.labels)
        assert {port["targetPort"] for port in service["spec"]["ports"]} == pod.ports.keys()


def test_what_dev_calls_is_a_service_of_dev(overlays: dict[str, Overlay]) -> None:
    dev = overlays["dev"]
    called = {
        urlsplit(str(settings_of(dev.pod("gateway")).aws_endpoint_url)).netloc,
        urlsplit(dev.pod("aggregator-worker").variables["REDIS_URL"]).netloc.partition("@")[2],
    }

    offered = {
        f"{name}{namespace}:{port['port']}"
        for name, service in dev.of("Service").items()
        for port in service["spec"]["ports"]
        for namespace in ("", f".{service['metadata']['namespace']}")
    }
    assert called <= offered


# --- what scales ----------------------------------------------------------------------------------


def test_every_queue_is_measured_for_the_service_that_reads_it(overlay: Overlay) -> None:
    names, settings = Names(), settings_of(overlay.pod("dispatcher"))
    measured = {
        target: trigger["metadata"]["queueURL"]
        for target, trigger in overlay.triggers()
        if trigger["type"] == "aws-sqs-queue"
    }

    assert set(QUEUE_OF.values()) == {queue.service for queue in QUEUES}
    assert measured.keys() == QUEUE_OF.keys()
    for target, url in measured.items():
        parts = urlsplit(url)
        assert parts.netloc == f"sqs.{settings.aws_region}.amazonaws.com"
        assert re.fullmatch(r"/\d{12}/" + names.queue(QUEUE_OF[target]), parts.path)


def test_rounds_and_runs_are_counted_in_the_index_where_they_are(overlay: Overlay) -> None:
    counted: dict[str, set[str]] = {}
    for target, trigger in overlay.triggers():
        if trigger["type"] != "aws-dynamodb":
            continue
        asked = trigger["metadata"]
        names = json.loads(asked["expressionAttributeNames"])
        values = json.loads(asked["expressionAttributeValues"])
        assert (asked["tableName"], asked["indexName"]) == (Names().table, INDEX)
        assert asked["keyConditionExpression"] == "#active = :kind"
        assert names == {"#active": INDEX}
        counted.setdefault(target, set()).add(values[":kind"]["S"])

    round_kind, run_kind = (_active_kind(row) for row in (RoundRow, RunRow))
    assert counted == {"aggregator-intake": {round_kind}, "dispatcher": {round_kind, run_kind}}


def _active_kind(row: type) -> str:
    """Return the value that an active row of this type has in the index."""
    (kind, _) = typing.get_args(typing.get_type_hints(row)["active"])
    return str(*get_args(kind))


def test_workers_are_counted_by_the_list_that_celery_fills(overlay: Overlay) -> None:
    ((target, trigger),) = [one for one in overlay.triggers() if one[1]["type"] == "redis"]
    settings = settings_of(overlay.pod("aggregator-worker"))

    assert isinstance(settings, AggregatorSettings)
    assert target == "aggregator-worker"
    assert trigger["metadata"]["listName"] == new_app(settings).conf.task_default_queue
    if overlay.name == "dev":
        address = urlsplit(settings.redis_url.value)
        assert trigger["metadata"]["address"] == f"{address.hostname}:{address.port}"
        assert trigger["metadata"]["databaseIndex"] == address.path.removeprefix("/")


def test_every_trigger_is_of_the_region_where_the_processes_are(overlay: Overlay) -> None:
    settings = settings_of(overlay.pod("dispatcher"))
    of_aws = [one["metadata"] for _, one in overlay.triggers() if one["type"].startswith("aws")]

    assert {asked["awsRegion"] for asked in of_aws} == {settings.aws_region}
    assert {asked.get("awsEndpoint") for asked in of_aws} == {settings.aws_endpoint_url}


def test_inference_is_scaled_on_a_gauge_that_it_has_and_the_adapter_gives(
    overlays: dict[str, Overlay], tools: Tools
) -> None:
    metrics = overlays["aws"].of("HorizontalPodAutoscaler")["inference"]["spec"]["metrics"]
    (name,) = [one["pods"]["metric"]["name"] for one in metrics if one["type"] == "Pods"]
    ((values,),) = (one.documents for one in tools.read(K8S / "monitoring/prometheus-adapter.yaml"))
    (rule,) = values["rules"]["custom"]

    assert name in get_args(GaugeName)
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(f"{name}{{")


# --- times ----------------------------------------------------------------------------------------


def test_every_process_has_the_time_that_it_needs_to_end(overlay: Overlay) -> None:
    worker, inference = (
        settings_of(overlay.pod(name)) for name in ("aggregator-worker", "inference")
    )

    assert isinstance(worker, AggregatorSettings)
    assert isinstance(inference, InferenceSettings)
    needed = {
        "aggregator-worker": worker.task_seconds,
        "gateway": STOP_SECONDS,
        "inference": inference.drain_seconds + FINISH_SECONDS,
    }
    for pod in overlay.our_pods():
        if pod.name != "bootstrap":
            seconds = needed.get(pod.name, WAIT_SECONDS)
            assert pod.grace_seconds >= max(seconds + MARGIN_SECONDS, EXIT_SECONDS), pod.name


def test_workers_stay_longer_than_a_task_that_is_in_no_list_any_more(overlay: Overlay) -> None:
    settings = settings_of(overlay.pod("aggregator-worker"))
    scaled = overlay.of("ScaledObject")["aggregator-worker"]["spec"]

    assert isinstance(settings, AggregatorSettings)
    assert scaled["cooldownPeriod"] > settings.task_seconds


def test_an_evaluation_may_take_ten_minutes_before_the_process_counts_as_stuck(
    overlay: Overlay,
) -> None:
    probe = overlay.pod("evaluator").container["livenessProbe"]

    patience = Health().limit_seconds + probe["periodSeconds"] * probe["failureThreshold"]

    assert patience >= 600


def _project(image: str) -> dict[str, Any]:
    """Return ``[project]`` of the folder that an image is named for."""
    name = image.removeprefix("rondo/")
    (file,) = [*ROOT.glob(f"services/{name}/pyproject.toml"), *ROOT.glob(f"{name}/pyproject.toml")]
    return dict(tomllib.loads(file.read_text("utf-8"))["project"])
