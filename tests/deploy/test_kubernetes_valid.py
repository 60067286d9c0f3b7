"""The manifests as others see them: Kubernetes' schemas, checkov's checks, KEDA's types."""

from pathlib import Path

import pytest

from tests.architecture.packages import ROOT
from tests.deploy.kubernetes_tools import RELEASES, Judged, Tools

PAGE = ROOT / "docs" / "kubernetes.md"

SLOPPY = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: sloppy, namespace: rondo}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {containers: [{name: sloppy, image: "sloppy:latest"}]}
"""
"""Stands beside ours, so that a tool that looks at nothing is noticed."""

SCALED = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: scaled, namespace: rondo}
spec:
  scaleTargetRef: {name: scaled}
  minReplicaCount: 0
  triggers: [{type: redis, metadata: {listLength: "1"}}]
"""


@pytest.mark.parametrize("release", RELEASES)
def test_what_is_applied_is_valid(release: str, tools: Tools, manifests: dict[str, Path]) -> None:
    assert tools.validate(list(manifests.values()), release) == ""


def test_a_misspelt_field_is_not_valid(tools: Tools, tmp_path: Path) -> None:
    file = tmp_path / "misspelt.yaml"
    file.write_text(SLOPPY.replace("selector:", "replica: 1\n  selector:"))

    assert "replica" in tools.validate([file], RELEASES[-1])


def test_keda_takes_what_is_applied(judged: dict[str, Judged]) -> None:
    assert {name: one.faults for name, one in judged.items()} == {name: {} for name in judged}


def test_keda_takes_nothing_else(tools: Tools, tmp_path: Path) -> None:
    changes = {
        "same": ("", "", ""),
        "unknown": ("minReplicaCount", "minReplicas", "no such field: .spec.minReplicas"),
        "text": ("minReplicaCount: 0", 'minReplicaCount: "0"', "valid integer"),
        "number": ('"1"', "1", "valid string"),
        "missing": ("scaleTargetRef", "scaleTarget", "Field required"),
        "other": ("kind: ScaledObject", "kind: ScaledThing", "no such kind"),
    }
    file = tmp_path / "scaled.yaml"
    documents = [
        SCALED.replace("name: scaled,", f"name: {name},").replace(right, wrong)
        for name, (right, wrong, _) in changes.items()
    ]
    file.write_text("---\n".join(documents))

    (found,) = tools.read(file)

    faults = {name.partition("/")[2]: fault for name, fault in found.faults.items()}
    assert faults.keys() == changes.keys() - {"same"}
    assert [name for name, fault in faults.items() if changes[name][2] not in fault] == []


def test_checkov_finds_nothing_but_in_what_is_sloppy(
    tools: Tools, manifests: dict[str, Path]
) -> None:
    folder = next(iter(manifests.values())).parent
    (folder / "sloppy.yaml").write_text(SLOPPY)

    report = tools.scan(folder)

    failed = [
        f"{one['file_path']}: {one['check_id']}" for one in report["results"]["failed_checks"]
    ]
    assert report["summary"]["parsing_errors"] == 0
    assert [one for one in failed if not one.startswith("/sloppy.yaml")] == []
    assert len(failed) > 10
