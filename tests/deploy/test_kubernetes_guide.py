"""The guide says what is so: its secrets, its numbers, and why a check is left out."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rondo_core.clock import SystemClock
from rondo_inference.web.access import Unknown, read_keys
from tests.architecture.packages import ROOT
from tests.deploy.kubernetes_view import SECRETS_AS_A_WHOLE, Overlay

PAGE = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")


def test_the_guide_makes_every_secret_with_every_key(overlay: Overlay) -> None:
    _, _, later = PAGE.partition("## On EKS")
    guide = (later if overlay.name == "aws" else PAGE).replace("\\\n", "")
    commands = re.findall(r"create secret generic (\S+)(.*)", guide)
    made = {
        (name, key)
        for name, rest in commands
        for key in re.findall(r"--from-literal=([\w.]+)=", rest)
    }

    assert set(_secret_keys(overlay)) - made == set()
    assert commands != []


def _secret_keys(overlay: Overlay) -> Iterator[tuple[str, str]]:
    for way in overlay.of("TriggerAuthentication").values():
        for one in way["spec"].get("secretTargetRef", ()):
            yield one["name"], one["key"]
    for pod in overlay.pods():
        for variable in pod.container.get("env", ()):
            if "valueFrom" in variable:
                reference = variable["valueFrom"]["secretKeyRef"]
                yield reference["name"], reference["key"]
        for source in pod.container.get("envFrom", ()):
            name = source.get("secretRef", {}).get("name")
            yield from ((name, key) for key in SECRETS_AS_A_WHOLE.get(name, ()))
        for volume in pod.spec["volumes"]:
            secret = volume.get("secret", {"items": ()})
            yield from ((secret["secretName"], item["key"]) for item in secret["items"])


def test_the_guide_says_how_many_there_are(overlay: Overlay) -> None:
    counts = {
        name: (one["spec"]["minReplicaCount"], one["spec"]["maxReplicaCount"])
        for name, one in overlay.of("ScaledObject").items()
    } | {
        name: (one["spec"]["minReplicas"], one["spec"]["maxReplicas"])
        for name, one in overlay.of("HorizontalPodAutoscaler").items()
    }

    rows = {name: f"| {name} | {least} | {most} |" for name, (least, most) in counts.items()}
    drawn = {name: f"{name} {least}–{most}" for name, (least, most) in counts.items()}

    assert {name for name, row in rows.items() if row not in PAGE} == set()
    assert {name for name, text in drawn.items() if text not in PAGE} == set()


def test_every_check_that_is_left_out_is_explained(overlay: Overlay) -> None:
    left_out = [
        skip
        for pod in overlay.pods()
        for skip in _skips(pod.owner["metadata"].get("annotations", {}))
    ]
    _, _, page = PAGE.partition("## Checks that are left out")

    assert left_out != []
    assert [skip for skip in left_out if not re.fullmatch(r"CKV2?_K8S_\d+=\w.{15,}", skip)] == []
    assert {skip for skip in left_out if f"`{skip.partition('=')[0]}`" not in page} == set()


def _skips(annotations: dict[str, Any]) -> list[str]:
    return [text for name, text in annotations.items() if name.startswith("checkov.io/skip")]


def test_inference_asks_for_a_key_which_the_guide_makes(overlay: Overlay, tmp_path: Path) -> None:
    pod = overlay.pod("inference")
    (made,) = set(re.findall(r"export RONDO_API_KEY=.*?\n```", PAGE, re.DOTALL))
    program = tmp_path / "kubectl"
    program.write_text(
        '#!/bin/sh\nfor last; do :; done\nprintf %s "${last#*keys.json=}"\n', "utf-8"
    )
    program.chmod(0o755)
    script = made.removesuffix("```") + '\nprintf "\\n%s" "$RONDO_API_KEY"'
    path = f"{tmp_path}:{os.environ['PATH']}"

    done = subprocess.run(
        ["/bin/bash", "-euc", script],
        env={"PATH": path},
        capture_output=True,
        check=True,
        text=True,
    )
    keys, _, key = done.stdout.partition("\n")
    file = tmp_path / "keys.json"
    file.write_text(keys, "utf-8")
    access = read_keys(file, SystemClock())

    assert access.owner(access.identify({"x-api-key": key})) == "operator"
    with pytest.raises(Unknown):
        access.identify({"x-api-key": key[:-1]})
    (volume,) = [one for one in pod.spec["volumes"] if one["name"] == "keys"]
    (mount,) = [one for one in pod.container["volumeMounts"] if one["name"] == "keys"]
    assert volume["secret"]["secretName"] == "rondo-inference-keys"
    assert (
        pod.variables["API_KEYS_FILE"]
        == f"{mount['mountPath']}/{volume['secret']['items'][0]['path']}"
    )
