"""Who is how many, and on what: the autoscalers agree with queues, index, list and gauge."""

import json
import re
import typing
from typing import get_args
from urllib.parse import urlsplit

import pytest

from rondo_core.celery_worker import new_app
from rondo_core.rows import RoundRow, RunRow
from rondo_core.telemetry import GaugeName
from rondo_core.topology import INDEX, QUEUES, Names
from rondo_inference.domain.batch_job import BatchJob
from tests.deploy.kubernetes_settings import CELERY, DOORS, WORKERS, celery_settings, settings_of
from tests.deploy.kubernetes_tools import K8S, Tools
from tests.deploy.kubernetes_view import Overlay

QUEUE_OF = {
    "aggregator-intake": "aggregator",
    "batch-intake": "batch",
    "dispatcher": "dispatcher",
    "evaluator": "evaluator",
}

TRIGGER_FIELDS = {
    "aws-dynamodb": {
        *("tableName", "indexName", "awsRegion", "awsEndpoint", "keyConditionExpression"),
        *("expressionAttributeNames", "expressionAttributeValues", "targetValue"),
        "activationTargetValue",
    },
    "aws-sqs-queue": {
        *("queueURL", "queueLength", "activationQueueLength", "awsRegion", "awsEndpoint"),
        "scaleOnInFlight",
    },
    "redis": {
        *("address", "databaseIndex", "listName", "listLength", "activationListLength"),
        "enableTLS",
    },
}
"""What KEDA's scalers read; anything else in the metadata would be ignored."""


# --- how many -------------------------------------------------------------------------------------


def test_idle_there_is_nothing_but_the_doors(overlay: Overlay) -> None:
    scaled = overlay.of("ScaledObject")

    assert {one["spec"]["scaleTargetRef"]["name"] for one in scaled.values()} == WORKERS
    for name, one in scaled.items():
        spec = one["spec"]
        assert spec["minReplicaCount"] == 0, name
        assert "idleReplicaCount" not in spec
        for trigger in spec["triggers"]:
            (activation,) = [key for key in trigger["metadata"] if key.startswith("activation")]
            assert trigger["metadata"][activation] == "0", name


def test_the_doors_are_never_shut(overlay: Overlay) -> None:
    autoscalers = overlay.of("HorizontalPodAutoscaler")

    assert {one["spec"]["scaleTargetRef"]["name"] for one in autoscalers.values()} == DOORS
    for one in autoscalers.values():
        metrics = [metric["resource"] for metric in one["spec"]["metrics"] if "resource" in metric]
        assert one["spec"]["minReplicas"] == 2
        assert one["spec"]["maxReplicas"] > 2
        assert [metric["name"] for metric in metrics] == ["cpu"]


def test_inference_is_scaled_on_what_is_in_flight_too(overlays: dict[str, Overlay]) -> None:
    kinds = {
        name: [
            metric["type"]
            for metric in overlay.of("HorizontalPodAutoscaler")["inference"]["spec"]["metrics"]
        ]
        for name, overlay in overlays.items()
    }

    assert kinds == {"aws": ["Resource", "Pods"], "dev": ["Resource"]}


def test_applying_again_does_not_change_how_many_there_are(overlay: Overlay) -> None:
    for pod in overlay.deployments():
        assert ("replicas" in pod.owner["spec"]) == (pod.name not in DOORS | WORKERS), pod.name


def test_every_trigger_has_only_what_its_scaler_reads_and_who_it_asks_as(overlay: Overlay) -> None:
    ways = overlay.of("TriggerAuthentication")

    for target, trigger in overlay.triggers():
        fields, kind = trigger["metadata"].keys(), trigger["type"]
        assert fields - TRIGGER_FIELDS[kind] == set(), target
        assert TRIGGER_FIELDS[kind] - fields <= {"awsEndpoint", "enableTLS"}, target
        assert trigger["authenticationRef"]["name"] == ("redis" if kind == "redis" else "aws")
    assert ways.keys() == {"aws", "redis"}


def test_redis_is_asked_with_tls_where_it_is_not_in_the_cluster(
    overlays: dict[str, Overlay],
) -> None:
    tls = {
        name: trigger["metadata"].get("enableTLS")
        for name, overlay in overlays.items()
        for _, trigger in overlay.triggers()
        if trigger["type"] == "redis"
    }

    assert tls == {"aws": "true", "dev": None}


def test_what_cannot_be_measured_keeps_a_reconciler(overlay: Overlay) -> None:
    scaled = overlay.of("ScaledObject")

    kept = {
        name: one["spec"]["fallback"] for name, one in scaled.items() if "fallback" in one["spec"]
    }

    assert kept.keys() == {"aggregator-intake", "batch-intake", "dispatcher"}
    assert {one["replicas"] for one in kept.values()} == {1}


# --- on what --------------------------------------------------------------------------------------


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


def test_rounds_runs_and_jobs_are_counted_in_the_index_where_they_are(overlay: Overlay) -> None:
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

    round_kind, run_kind, job = (_active_kind(row) for row in (RoundRow, RunRow, BatchJob))
    assert counted == {
        "aggregator-intake": {round_kind},
        "batch-intake": {job},
        "dispatcher": {round_kind, run_kind},
    }


def _active_kind(row: type) -> str:
    """Return the value that an active row of this type has in the index."""
    (kind, _) = typing.get_args(typing.get_type_hints(row)["active"])
    return str(*get_args(kind))


def test_only_workers_are_counted_by_lists(overlay: Overlay) -> None:
    targets = [target for target, one in overlay.triggers() if one["type"] == "redis"]

    assert sorted(targets) == [f"{service}-worker" for service in CELERY]


@pytest.mark.parametrize("service", CELERY)
def test_workers_are_counted_by_the_list_that_celery_fills(overlay: Overlay, service: str) -> None:
    (trigger,) = overlay.of("ScaledObject")[f"{service}-worker"]["spec"]["triggers"]
    settings = celery_settings(overlay, service, "intake")

    assert trigger["metadata"]["listName"] == new_app(service, settings).conf.task_default_queue
    if overlay.name == "dev":
        address = urlsplit(settings.redis_url.value)
        namespace = overlay.of("Service")[str(address.hostname)]["metadata"]["namespace"]
        # KEDA asks from a namespace of its own, where a short name would be somebody else's.
        assert trigger["metadata"]["address"] == f"{address.hostname}.{namespace}:{address.port}"
        assert trigger["metadata"]["databaseIndex"] == address.path.removeprefix("/")


def test_every_trigger_is_of_the_region_where_the_processes_are(overlay: Overlay) -> None:
    settings = settings_of(overlay.pod("dispatcher"))
    of_aws = [one["metadata"] for _, one in overlay.triggers() if one["type"].startswith("aws")]

    assert {asked["awsRegion"] for asked in of_aws} == {settings.aws_region}
    if settings.aws_endpoint_url is not None:
        (namespace,) = overlay.of("Namespace").keys() - {"rondo"}
        assert urlsplit(settings.aws_endpoint_url).hostname == f"localstack.{namespace}"
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


@pytest.mark.parametrize("service", CELERY)
def test_workers_stay_longer_than_a_task_that_is_in_no_list_any_more(
    overlay: Overlay, service: str
) -> None:
    scaled = overlay.of("ScaledObject")[f"{service}-worker"]["spec"]

    assert scaled["cooldownPeriod"] > celery_settings(overlay, service, "worker").task_seconds
