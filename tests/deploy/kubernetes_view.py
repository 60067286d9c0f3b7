"""What an overlay would apply, as the tests ask for it: pods, their variables, what scales them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["OVERLAYS", "SECRETS", "SECRETS_AS_A_WHOLE", "Overlay", "Pod", "selected"]

OVERLAYS = ("aws", "dev")

SECRETS = {
    "AWS_ACCESS_KEY_ID": "id-of-a-secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "OPERATOR_TOKEN": "secret",
    "REDIS_URL": "redis://:secret@redis:6379/0",
}
"""What stands in for the keys of secrets, which are made by hand and not rendered."""

SECRETS_AS_A_WHOLE = {"rondo-aws": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
"""Secrets of which every key becomes a variable."""


@dataclass(frozen=True, slots=True)
class Pod:
    """The one container of a Deployment's or a Job's pods, and what is around it.

    Attributes:
        name: of its owner.
        namespace: of its owner.
        labels: of the pod.
        spec: of the pod.
        owner: the whole Deployment or Job.
        variables: what the process finds in its environment.
    """

    name: str
    namespace: str
    labels: dict[str, str]
    spec: dict[str, Any]
    owner: dict[str, Any]
    variables: dict[str, str]

    @property
    def container(self) -> dict[str, Any]:
        (container,) = self.spec["containers"]
        return dict(container)

    @property
    def image(self) -> str:
        """The image's name, without registry and version."""
        name = str(self.container["image"]).rpartition(":")[0]
        return "/".join(name.split("/")[-2:])

    @property
    def ours(self) -> bool:
        return self.image.startswith("rondo/")

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    @property
    def grace_seconds(self) -> int:
        """From SIGTERM to SIGKILL."""
        stop = self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        return int(self.spec["terminationGracePeriodSeconds"]) - int(stop.get("seconds", 0))


@dataclass(frozen=True, slots=True)
class Overlay:
    """Everything that is rendered from one overlay."""

    name: str
    documents: list[dict[str, Any]]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return all of a kind by their names."""
        found = [one for one in self.documents if one["kind"] == kind]
        named = {str(one["metadata"]["name"]): one for one in found}
        assert len(named) == len(found), f"two of {kind} have one name"
        return named

    def pods(self) -> list[Pod]:
        """Return what runs."""
        owners = [*self.of("Deployment").values(), *self.of("Job").values()]
        return [self._pod(owner) for owner in owners]

    def deployments(self) -> list[Pod]:
        """Return what always runs, or comes and goes."""
        return [pod for pod in self.pods() if pod.owner["kind"] == "Deployment"]

    def our_pods(self) -> list[Pod]:
        """Return what runs of our images."""
        return [pod for pod in self.pods() if pod.ours]

    def pod(self, name: str) -> Pod:
        """Return the pod of a name."""
        (found,) = [pod for pod in self.pods() if pod.name == name]
        return found

    def triggers(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each trigger with the name of what it scales."""
        for scaled in self.of("ScaledObject").values():
            for trigger in scaled["spec"]["triggers"]:
                yield scaled["spec"]["scaleTargetRef"]["name"], trigger

    def _pod(self, owner: dict[str, Any]) -> Pod:
        template, metadata = owner["spec"]["template"], owner["metadata"]
        (container,) = template["spec"]["containers"]
        return Pod(
            name=metadata["name"],
            namespace=metadata["namespace"],
            labels=template["metadata"]["labels"],
            spec=template["spec"],
            owner=owner,
            variables=dict(self._variables(container)),
        )

    def _variables(self, container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for source in container.get("envFrom", ()):
            if "configMapRef" in source:
                yield from self.of("ConfigMap")[source["configMapRef"]["name"]]["data"].items()
            else:
                for key in SECRETS_AS_A_WHOLE[source["secretRef"]["name"]]:
                    yield key, SECRETS[key]
        for variable in container.get("env", ()):
            if "value" in variable:
                yield variable["name"], variable["value"]
            else:
                yield variable["name"], SECRETS[variable["valueFrom"]["secretKeyRef"]["key"]]


def selected(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a selector, of labels alone, selects what has these labels.

    >>> selected({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}), selected({}, {})
    (True, True)
    """
    assert selector.keys() <= {"matchLabels"}, f"no test reads {selector}"
    return dict(selector.get("matchLabels", {})).items() <= dict(labels).items()
