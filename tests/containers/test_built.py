"""What is in the images, how large they are, and what a small change costs."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from examples.sample_models import identity
from tests.architecture.packages import ROOT
from tests.containers.engine import docker, inspect

pytestmark = pytest.mark.timeout(1200)

WITH_TENSORFLOW = {"rondo/demo:0.1.0", "rondo/evaluator:0.1.0"}
BASE = "python:3.11-slim-bookworm"
NAMES = "import importlib.metadata as m; print(*{d.metadata['Name'] for d in m.distributions()})"
LEFT = "import glob; print(*glob.glob('/source'), *glob.glob('/wheels/*'), *glob.glob('/tools/*'))"
TOOLS = ("cc", "gcc", "g++", "make", "uv")


def test_only_those_who_need_tensorflow_have_it_and_nobody_has_tools_or_tests(
    images: tuple[str, ...],
) -> None:
    for image in images:
        run = ("run", "--rm", "--entrypoint", "python", image, "-c")
        installed = set(docker(*run, NAMES).lower().replace("_", "-").split())
        assert ("tensorflow-cpu" in installed) == (image in WITH_TENSORFLOW), image
        assert installed & {"pytest", "hatchling", "pip", "hypothesis"} == set(), image
        found = f"import shutil; print(*filter(shutil.which, {TOOLS}))"
        allowed = {"uv"} if "local" in image or "demo" in image else set()  # makes emulators
        assert set(docker(*run, found).split()) <= allowed, image
        assert docker(*run, LEFT).split() == [], image


def test_the_sizes_are_told(images: tuple[str, ...]) -> None:
    base = inspect_size(BASE)

    rows = [(image, inspect_size(image)) for image in images]

    table = ["| image | MB | of which the base image |", "|---|---|---|"]
    table += [f"| `{image}` | {size / 1e6:.0f} | {base / 1e6:.0f} |" for image, size in rows]
    folder = ROOT / "build" / "containers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sizes.md").write_text("\n".join(table) + "\n")
    print("", *table, sep="\n")
    small = {image for image, size in rows if size - base < 600e6}  # TensorFlow alone has 1,500
    assert small == {*images} - WITH_TENSORFLOW


def inspect_size(image: str) -> int:
    (found,) = json.loads(docker("image", "inspect", image))
    return int(found["Size"])


def test_a_change_of_one_line_installs_nothing_of_others_again(
    images: tuple[str, ...], tmp_path: Path
) -> None:
    assert images
    for name in ("constraints.txt", ".dockerignore", "shared", "client", "local", "services"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    for service in ("gateway", "evaluator"):
        main = tmp_path / f"services/{service}/src/rondo_{service}/main.py"
        main.write_text(f"{main.read_text()}\n# changed at {time.time_ns()}\n")

        started = time.monotonic()
        file = tmp_path / "services" / service / "Dockerfile"
        build = ("buildx", "build", "--progress", "plain", "--tag", f"rondo-changed/{service}")
        log = docker(*build, "--file", str(file), str(tmp_path), errors=True)
        seconds = time.monotonic() - started

        docker("image", "rm", f"rondo-changed/{service}")
        print(f"{service}: built again after a change of one line in {seconds:.1f} s")
        assert steps(log, "uv pip install -p /app -c") == [True]
        assert steps(log, "COPY --from=build /app /app") == [True]
        assert steps(log, "--no-index --find-links") == [False]


def steps(log: str, words: str) -> list[bool]:
    """Return of each step with these words whether it was cached."""
    numbers = re.findall(rf"^#(\d+) \[.*{re.escape(words)}", log, re.MULTILINE)
    return [f"#{number} CACHED" in log for number in dict.fromkeys(numbers)]


@pytest.mark.parametrize("user", ["0", "10001:10001", "54321:54321"])
def test_serve_serves_a_mounted_model_for_root_and_for_any_number(
    images: tuple[str, ...], tmp_path: Path, user: str
) -> None:
    """SageMaker starts a container with the word ``serve``, as root, and mounts the model."""
    assert images
    (tmp_path / "model.onnx").write_bytes(identity())
    tmp_path.chmod(0o755)
    locked = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none")  # noqa: S108
    mount = ("--volume", f"{tmp_path}:/opt/ml/model:ro")
    run = ("run", "--detach", "--user", user, *locked, *mount, "rondo/inference:0.1.0", "serve")
    container = docker(*run).strip()
    try:
        docker("exec", container, "python", "-c", WAIT_UNTIL_READY)
        answer = json.loads(docker("exec", container, "python", "-c", ASK))
        docker("stop", "--time", "30", container)
        assert inspect(container)["State"]["ExitCode"] == 0
    finally:
        docker("rm", "--force", container)

    assert answer == [200, 7]


WAIT_UNTIL_READY = """
import subprocess, time
deadline = time.monotonic() + 60
while subprocess.run(["rondo-inference", "health"]).returncode:
    assert time.monotonic() < deadline, "not ready"
    time.sleep(0.2)
"""

ASK = """
import json, urllib.request
tensor = {"name": "INPUT_INT32", "shape": [1, 1], "datatype": "INT32", "data": [7]}
others = json.load(urllib.request.urlopen("http://127.0.0.1:8080/v2/models/model"))["inputs"]
data = {"BYTES": "a", "BOOL": True}
inputs = [tensor if one["name"] == "INPUT_INT32" else {
    **one, "shape": [1, 1], "data": [data.get(one["datatype"], 1)]} for one in others]
body = json.dumps({"inputs": inputs}).encode()
answer = urllib.request.urlopen("http://127.0.0.1:8080/v2/models/model/infer", body)
outputs = json.load(answer)["outputs"]
print(json.dumps([answer.status, *[o["data"][0] for o in outputs if o["datatype"] == "INT32"]]))
"""
