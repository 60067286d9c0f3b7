"""The real runtimes on real exports: each alone, all at once, and as a server alone."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from rondo_core.exports import (
    INDEX_FILE,
    ONNX_FILE,
    SAVED_MODEL_FOLDER,
    TFLITE_FILE,
    ExportIndex,
    ExportInvalid,
    encode_export_index,
    export_file,
    format_of,
)
from rondo_core.initial_weights import initial_weights
from rondo_core.keras import build, predict, set_flat
from rondo_core.keras.export import export, golden_inputs
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec, encode_model_spec, parse_model_spec
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.runtimes import Engines, Runtime, open_engines
from rondo_inference.engines.saved_model import open_saved_model
from rondo_inference.registry.folder_files import read_folder
from rondo_inference.registry.proving import Proved, proved_engine
from tests.integration.test_inference_alone import SECONDS, ask, start

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "model.json"
ALL = ["onnxruntime", "litert", "tensorflow"]


@dataclass(frozen=True, slots=True)
class Exported:
    """A version in a folder."""

    models: Path
    version: Path
    spec: ModelSpec
    flat: Float32Array

    def expected(self, inputs: Float32Array) -> Float32Array:
        model = build(self.spec)
        set_flat(model, self.flat)
        return predict(model, inputs)

    def spoil(self, name: str, data: bytes, *, listed: bool) -> None:
        """Replace a file; ``listed``: its digest in the index is the new one."""
        (self.version / name).write_bytes(data)
        if listed:
            index = json.loads((self.version / INDEX_FILE).read_bytes())
            file = export_file(data)
            index["files"][name] = {"sha256": file.sha256, "size": file.size}
            (self.version / INDEX_FILE).write_text(json.dumps(index))


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    models = tmp_path_factory.mktemp("models")
    spec = parse_model_spec(DIGITS.read_bytes())
    flat = initial_weights(spec)
    version = models / "digits" / "1"
    version.mkdir(parents=True)
    report = export(spec, flat, version)
    index = ExportIndex(
        format=format_of(report.files),
        model="digits",
        spec=spec.sha256,
        weights=hashlib.sha256(flat.tobytes()).hexdigest(),
        input=report.input,
        output=report.output,
        tolerance=report.tolerance,
        files=report.files,
    )
    (version / "spec.json").write_bytes(encode_model_spec(spec))
    (version / INDEX_FILE).write_bytes(encode_export_index(index))
    return Exported(models, version, spec, flat)


@pytest.fixture
def digits(untouched: Exported, tmp_path: Path) -> Exported:
    models = tmp_path / "models"
    shutil.copytree(untouched.models, models)
    return replace(untouched, models=models, version=models / "digits" / "1")


def here(*names: str) -> Engines:
    """Return real runtimes; TensorFlow as Keras has started it in this process."""
    found = open_engines("onnxruntime,litert", threads=1, copies=2, largest=32)
    tensorflow = Runtime("tensorflow", SAVED_MODEL_FOLDER, open_saved_model)
    return Engines(tuple(r for r in (*found.runtimes, tensorflow) if r.name in names), 32)


def proved(version: Exported, *names: str) -> Proved:
    return proved_engine(read_folder(version.version), here(*names))


def engine_of(version: Exported, name: str) -> Engine:
    return proved(version, name).engine


@pytest.mark.parametrize("name", ALL)
def test_each_runtime_alone_computes_what_keras_computes_for_batches_of_any_size(
    name: str, digits: Exported
) -> None:
    engine = engine_of(digits, name)

    for rows in (1, 7, 32, 3, 1, 100):
        inputs = np.resize(golden_inputs(digits.spec), (rows, *digits.spec.input.shape))
        (found,) = engine.run((inputs,))
        assert found == pytest.approx(digits.expected(inputs), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_threads_do_not_get_each_others_answers(name: str, digits: Exported) -> None:
    engine = engine_of(digits, name)
    inputs = golden_inputs(digits.spec)
    expected = digits.expected(inputs)

    def asked(at: int) -> bool:
        start, rows = at % 7, 1 + at % 2
        (found,) = engine.run((inputs[start : start + rows],))
        return bool(np.allclose(found, expected[start : start + rows], rtol=1e-4, atol=1e-5))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(asked, range(400)))


@pytest.mark.parametrize("name", ALL)
def test_an_answer_is_not_changed_by_the_next_one(name: str, digits: Exported) -> None:
    engine = engine_of(digits, name)
    inputs = golden_inputs(digits.spec)
    (first,) = engine.run((inputs[:1],))
    kept = first.copy()

    for _ in range(4):
        engine.run((inputs[1:2],))

    assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", ALL)
def test_inputs_that_a_runtime_cannot_take_are_refused_and_the_next_ones_are_computed(
    name: str, digits: Exported
) -> None:
    engine = engine_of(digits, name)
    inputs = golden_inputs(digits.spec)

    for wrong in (np.zeros((1, 2), np.float32), inputs.astype(np.float64)):
        for _ in range(3):  # every interpreter of LiteRT
            with pytest.raises(ExportInvalid):
                engine.run((wrong,))

    (found,) = engine.run((inputs,))
    assert found == pytest.approx(digits.expected(inputs), rel=1e-4, abs=1e-5)


def test_all_at_once_agree_and_each_size_has_its_engine(digits: Exported) -> None:
    found = proved(digits, *ALL)

    assert dict(found.choice.dropped) == {}
    assert found.choice.by_rows[-1][0] == 32
    assert {name for _, name in found.choice.by_rows} <= set(ALL)
    assert {rows: set(seconds) for rows, seconds in found.seconds.items()}[1] == set(ALL)
    (outputs,) = found.engine.run((golden_inputs(digits.spec),))
    expected = digits.expected(golden_inputs(digits.spec))
    assert outputs == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("file", "name"),
    [(TFLITE_FILE, "litert"), (f"{SAVED_MODEL_FOLDER}/saved_model.pb", "tensorflow")],
)
@pytest.mark.parametrize("why", ["refuses it", "SHA-256"])
@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_damaged_file_is_dropped_with_a_reason_and_onnx_runtime_serves(
    file: str, name: str, why: str, keep: int, digits: Exported
) -> None:
    data = (digits.version / file).read_bytes()
    digits.spoil(file, data[:keep] + b"\xff" * 64, listed=why == "refuses it")

    found = proved(digits, "onnxruntime", name)

    assert found.choice.by_rows == ((32, "onnxruntime"),)
    assert found.choice.dropped.keys() == {name}
    assert why in found.choice.dropped[name]


def test_weights_of_another_version_in_one_file_are_found_by_the_golden_outputs(
    digits: Exported, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    export(digits.spec, digits.flat * np.float32(2), other)
    digits.spoil(TFLITE_FILE, (other / TFLITE_FILE).read_bytes(), listed=True)

    found = proved(digits, "onnxruntime", "litert")

    assert found.choice.by_rows == ((32, "onnxruntime"),)
    assert "away from the golden one" in found.choice.dropped["litert"]


def memory_bytes(version: Exported, **environ: str) -> float:
    """Return what the version takes in a process of its own."""
    body = json.dumps({"instances": golden_inputs(version.spec)[:1].tolist()}).encode()
    server = start(version.models, model="digits", body=body, **environ)
    metrics = ask(server.port, "GET", "/metrics")[1].decode()
    server.process.terminate()
    server.process.wait(timeout=SECONDS)
    (found,) = re.findall(r"^rondo_inference_memory_bytes (\S+)$", metrics, re.MULTILINE)
    return float(found)


def test_what_a_version_takes_counts_all_copies_of_an_engine(digits: Exported) -> None:
    one = memory_bytes(digits, ENGINES="litert", THREADS="1")
    many = memory_bytes(digits, ENGINES="litert", THREADS="33")

    assert many - one > 32 * digits.flat.nbytes


@pytest.fixture
def server(digits: Exported, request: pytest.FixtureRequest) -> Iterator[int]:
    side = json.dumps({"instances": golden_inputs(digits.spec)[:1].tolist()}).encode()
    found = start(
        digits.models, model="digits", body=side, ENGINES=request.param, TF_CPP_MIN_LOG_LEVEL="2"
    )
    yield found.port
    found.process.terminate()
    found.process.wait(timeout=SECONDS)


@pytest.mark.parametrize(
    ("server", "engine", "platform"),
    [
        ("onnxruntime", "onnxruntime", "onnxruntime_onnx"),
        ("litert", "litert", "litert_tflite"),
        ("tensorflow", "tensorflow", "tensorflow_savedmodel"),
    ],
    indirect=["server"],
    ids=ALL,
)
def test_a_server_alone_computes_with_the_engine_that_it_is_told_and_says_so(
    server: int, engine: str, platform: str, digits: Exported
) -> None:
    inputs = golden_inputs(digits.spec)

    body = json.dumps({"instances": inputs.tolist()}).encode()
    status, answer = ask(server, "POST", "/v1/models/digits:predict", body)

    assert status == 200
    found = np.array(json.loads(answer)["predictions"], np.float32)
    assert found == pytest.approx(digits.expected(inputs), rel=1e-4, abs=1e-5)
    (model,) = json.loads(ask(server, "GET", "/catalogue")[1])["models"][:1]
    assert model["engines"] == {"by_rows": [[64, engine]], "dropped": {}}
    assert json.loads(ask(server, "GET", "/v2/models/digits")[1])["platform"] == platform
    metrics = ask(server, "GET", "/metrics")[1].decode()
    assert f'rondo_inference_engine_rows{{engine="{engine}"' in metrics


@pytest.mark.parametrize("server", ["onnxruntime,litert,tensorflow"], indirect=True)
def test_a_server_alone_with_all_engines_answers_as_keras(server: int, digits: Exported) -> None:
    for rows in (1, 8, 64, 200):
        inputs = np.resize(golden_inputs(digits.spec), (rows, *digits.spec.input.shape))
        body = json.dumps({"instances": inputs.tolist()}).encode()

        status, answer = ask(server, "POST", "/v1/models/digits:predict", body)

        assert status == 200
        found = np.array(json.loads(answer)["predictions"], np.float32)
        assert found == pytest.approx(digits.expected(inputs), rel=1e-4, abs=1e-5)


def test_an_older_version_without_the_new_file_is_served(digits: Exported) -> None:
    index = json.loads((digits.version / INDEX_FILE).read_bytes())
    del index["files"][TFLITE_FILE]
    (digits.version / INDEX_FILE).write_text(json.dumps(index))
    (digits.version / TFLITE_FILE).unlink()

    found = proved(digits, "onnxruntime", "litert")

    assert found.choice.by_rows == ((32, "onnxruntime"),)
    assert dict(found.choice.dropped) == {}
    assert (digits.version / ONNX_FILE).exists()
