"""What the manifests promise and no tool checks: who may do what, reach whom, how they change."""

from collections.abc import Iterator
from typing import Any

from tests.deploy.kubernetes_settings import DOORS, WORKERS, worker_settings
from tests.deploy.kubernetes_view import SECRETS, Overlay, Pod, selected

MEMORY_UNITS = {"Mi": 2**20, "Gi": 2**30}


# --- security -------------------------------------------------------------------------------------


def test_the_namespace_refuses_what_is_not_restricted(overlay: Overlay) -> None:
    labels = overlay.of("Namespace")["rondo"]["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {pod.namespace for pod in overlay.our_pods()} == {"rondo"}


def test_every_pod_of_that_namespace_is_restricted(overlay: Overlay) -> None:
    for pod in overlay.pods():
        if pod.namespace != "rondo":
            assert pod.name == "localstack"  # its image runs as root
            continue
        of_pod, of_container = pod.spec["securityContext"], pod.container["securityContext"]
        assert of_pod["runAsNonRoot"] is True
        assert min(of_pod["runAsUser"], of_pod["runAsGroup"]) >= 10_000
        assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert of_container == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"} == set()
        assert [v for v in pod.spec["volumes"] if v.keys() - {"name", "emptyDir", "secret"}] == []


def test_no_pod_has_a_token_for_the_cluster(overlay: Overlay) -> None:
    accounts = overlay.of("ServiceAccount")

    for pod in overlay.pods():
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["serviceAccountName"] == pod.name
        assert accounts[pod.name]["automountServiceAccountToken"] is False
    assert accounts.keys() == {pod.name for pod in overlay.pods()}


def test_on_aws_every_pod_has_a_role_of_its_own_and_no_key(overlays: dict[str, Overlay]) -> None:
    aws = overlays["aws"]
    roles = {
        name: account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
        for name, account in aws.of("ServiceAccount").items()
    }

    account = aws.of("ScaledObject")["dispatcher"]["spec"]["triggers"][0]["metadata"]["queueURL"]
    number = account.split("/")[3]
    assert roles == {name: f"arn:aws:iam::{number}:role/rondo-{name}" for name in roles}
    for pod in aws.pods():
        assert pod.variables.keys() & {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} == set()


def test_no_secret_is_kept_in_the_repository(overlay: Overlay) -> None:
    texts = [text for one in overlay.of("ConfigMap").values() for text in one["data"]]

    assert overlay.of("Secret") == {}
    assert set(texts) & SECRETS.keys() == set()


def test_everything_has_requests_and_limits(overlay: Overlay) -> None:
    for pod in overlay.pods():
        resources = pod.container["resources"]
        assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}


def test_files_in_memory_leave_half_of_it_to_the_process(overlay: Overlay) -> None:
    worker = overlay.pod("aggregator-worker")
    settings = worker_settings(overlay)
    ((folder, size),) = [
        (mount["mountPath"], volume["emptyDir"]["sizeLimit"])
        for volume in worker.spec["volumes"]
        for mount in worker.container["volumeMounts"]
        if mount["name"] == volume["name"] and volume["emptyDir"].get("medium") == "Memory"
    ]

    assert settings.cache_folder == folder
    assert settings.cache_bytes <= octets(size)
    assert octets(size) <= octets(worker.container["resources"]["limits"]["memory"]) / 2


def octets(text: str) -> int:
    return int(text[:-2]) * MEMORY_UNITS[text[-2:]]


# --- the network ----------------------------------------------------------------------------------


def policies(overlay: Overlay, pod: Pod) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the network policies that a pod is under, with their names."""
    for name, policy in overlay.of("NetworkPolicy").items():
        here = policy["metadata"]["namespace"] == pod.namespace
        if here and selected(policy["spec"]["podSelector"], pod.labels):
            yield name, policy["spec"]


def test_nothing_goes_in_or_out_that_no_policy_names(overlay: Overlay) -> None:
    for pod in overlay.pods():
        closed = [
            name
            for name, spec in policies(overlay, pod)
            if set(spec["policyTypes"]) == {"Ingress", "Egress"} and "egress" not in spec
        ]
        assert len(closed) == 1, pod.name


def test_every_way_in_or_out_names_its_ports_and_all_but_the_doors_name_who(
    overlay: Overlay,
) -> None:
    for name, policy in overlay.of("NetworkPolicy").items():
        for rule in policy["spec"].get("ingress", ()):
            assert rule["ports"], name
            assert ("from" in rule) == (name not in DOORS), name
        for rule in policy["spec"].get("egress", ()):
            assert rule["ports"], name
            assert [{}] not in [[peer] for peer in rule["to"]], name


def test_who_calls_aws_or_redis_may_and_nobody_else(overlay: Overlay) -> None:
    for pod in overlay.pods():
        ways_out = {name for name, spec in policies(overlay, pod) if "egress" in spec}
        expected = {"egress-dns"} if pod.namespace == "rondo" else set()
        if pod.ours:
            expected |= {"egress-aws"}
        if "REDIS_URL" in pod.variables:
            expected |= {"egress-redis"}
        assert ways_out == expected, pod.name


def test_a_pod_can_be_asked_only_at_its_own_port(overlay: Overlay) -> None:
    for pod in overlay.pods():
        ports = {
            port["port"]
            for _, spec in policies(overlay, pod)
            for rule in spec.get("ingress", ())
            for port in rule["ports"]
        }
        assert ports == set(pod.ports if "ports" in pod.container else ()), pod.name


def test_the_metadata_of_a_node_cannot_be_asked(overlays: dict[str, Overlay]) -> None:
    (rule,) = overlays["aws"].of("NetworkPolicy")["egress-aws"]["spec"]["egress"]

    assert rule["to"] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]
    assert rule["ports"] == [{"protocol": "TCP", "port": 443}]


# --- how they change ------------------------------------------------------------------------------


def test_a_node_can_always_be_emptied_one_pod_at_a_time(overlay: Overlay) -> None:
    budgets = overlay.of("PodDisruptionBudget")

    assert budgets.keys() == DOORS | WORKERS
    for name, budget in budgets.items():
        assert budget["spec"]["maxUnavailable"] == 1
        assert "minAvailable" not in budget["spec"]
        assert selected(budget["spec"]["selector"], overlay.pod(name).labels)
        assert budget["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": name}


def test_a_new_version_comes_before_the_old_one_goes(overlay: Overlay) -> None:
    for pod in overlay.deployments():
        if not pod.ours:
            continue
        strategy = pod.owner["spec"]["strategy"]
        assert strategy["type"] == "RollingUpdate"
        assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_door_takes_calls_until_balancers_know(overlay: Overlay) -> None:
    stops = {pod.name: pod.container.get("lifecycle") for pod in overlay.deployments() if pod.ours}

    assert {name for name, stop in stops.items() if stop} == DOORS
    assert {stops[name]["preStop"]["sleep"]["seconds"] for name in DOORS} == {5}  # type: ignore[index]


def test_pods_are_spread_over_zones_and_nodes(overlay: Overlay) -> None:
    for pod in overlay.deployments():
        if not pod.ours:
            continue
        spread = {one["topologyKey"]: one for one in pod.spec["topologySpreadConstraints"]}
        assert spread.keys() == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        for one in spread.values():
            assert selected(one["labelSelector"], pod.labels)
            assert one["maxSkew"] == 1
