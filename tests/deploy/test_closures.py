"""What is installed where: each distribution in an environment of its own."""

import pytest

from tests.architecture import import_each
from tests.deploy.closures import CLOSURES, PROJECTS, Closure, Install

AGGREGATOR, DISPATCHER = Closure("rondo-aggregator"), Closure("rondo-dispatcher")
EVALUATOR, GATEWAY = Closure("rondo-evaluator"), Closure("rondo-gateway")
INFERENCE, LOCAL = Closure("rondo-inference"), Closure("rondo-local")
LITERT, TENSORFLOW = Closure("rondo-inference", "litert"), Closure("rondo-inference", "tensorflow")
INFERENCES = {INFERENCE, LITERT, TENSORFLOW}
SDK, SDK_KERAS = Closure("rondo"), Closure("rondo", "keras")
SERVICES = {AGGREGATOR, DISPATCHER, EVALUATOR, GATEWAY, *INFERENCES}

WHERE: dict[str, set[Closure]] = {
    "ai-edge-litert": {EVALUATOR, LITERT},
    "boto3": {*SERVICES, LOCAL},
    "celery": {AGGREGATOR, *INFERENCES},
    "cryptography": {GATEWAY, SDK, SDK_KERAS},
    "fastapi": {GATEWAY},
    "grpcio-health-checking": INFERENCES,
    "httpx": {SDK, SDK_KERAS},
    "keras": {EVALUATOR, SDK_KERAS, TENSORFLOW},
    "msgspec": set(CLOSURES),
    "numpy": set(CLOSURES),
    "onnx": {EVALUATOR},
    "onnxruntime": {EVALUATOR, *INFERENCES},
    "prometheus-client": SERVICES,
    "pydantic": {GATEWAY},
    "pyjwt": {GATEWAY, SDK, SDK_KERAS},
    "redis": {AGGREGATOR, *INFERENCES},
    "tensorflow-cpu": {EVALUATOR, SDK_KERAS, TENSORFLOW},
    "tf2onnx": {EVALUATOR},
    "uv": {LOCAL},
    "uvicorn": {GATEWAY},
}
"""Distribution -> every closure that holds it, and no other does."""

NOWHERE = {  # for tests, for the demo, or of other frameworks
    *("boto3-stubs", "hypothesis", "localstack-client", "mypy", "pip", "pytest", "safetensors"),
    *("jax", "matplotlib", "pandas", "scikit-learn", "scipy", "tensorboard", "tensorflow", "torch"),
}

FAULTS = {
    "rondo-aggregator": ("HEALTH_PORT='no' is not a whole number", "REDIS_URL is missing"),
    "rondo-dispatcher": ("HEALTH_PORT='no' is not a whole number",),
    "rondo-evaluator": ("HEALTH_PORT='no' is not a whole number",),
    "rondo-gateway": ("PORT='no' is not a whole number", "WATCH_SECONDS='often' is not a number"),
    "rondo-inference": ("PORT='no' is not a whole number",),
}

each_closure = pytest.mark.parametrize("closure", CLOSURES, ids=str)


def test_every_distribution_is_tried() -> None:
    assert {closure.name for closure in CLOSURES} == PROJECTS.keys()


@each_closure
def test_a_closure_holds_what_it_should_and_nothing_of_the_others(
    closure: Closure, install_closure: Install
) -> None:
    expected = {name for name, closures in WHERE.items() if closure in closures}

    found = install_closure(closure).holds()

    assert found & (WHERE.keys() | NOWHERE) == expected
    assert found & PROJECTS.keys() == closure.ours().keys()


@each_closure
def test_every_module_can_be_imported_in_its_closure(
    closure: Closure, install_closure: Install
) -> None:
    installed, program = install_closure(closure), import_each.__file__

    # -I: neither the checkout nor a user's own packages may stand in for what is missing.
    done = installed.run(
        installed.python, "-I", program, *closure.modules(), ORT_DISABLE_TELEMETRY="1"
    )

    assert (done.stdout, done.returncode) == ("", 0), done.stderr[-2000:]


@pytest.mark.parametrize("name", FAULTS)
def test_a_service_says_which_variables_are_missing_or_wrong(
    name: str, install_closure: Install
) -> None:
    installed = install_closure(Closure(name))
    process = ("intake",) if name == "rondo-aggregator" else ()

    done = installed.run(
        installed.script(name), *process, HEALTH_PORT="no", PORT="no", WATCH_SECONDS="often"
    )

    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert last.startswith(f"{name}: ")
    assert [fault for fault in FAULTS[name] if fault not in last] == []


@pytest.mark.parametrize("closure", [AGGREGATOR, LOCAL, SDK], ids=str)
def test_a_command_explains_itself(closure: Closure, install_closure: Install) -> None:
    installed = install_closure(closure)
    (script,) = closure.project.scripts

    done = installed.run(installed.script(script), "--help")

    assert (done.returncode, done.stdout[:6].lower()) == (0, "usage:")
