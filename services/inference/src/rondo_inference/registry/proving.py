"""From the files of a version to engines that are warm and proved to compute as Keras did."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rondo_core.errors import Invalid, NotFound, Unavailable
from rondo_core.exports import GOLDEN_FILE, ExportIndex, ExportInvalid
from rondo_core.holdout import decode_holdout
from rondo_core.model_spec import ModelSpec
from rondo_inference.domain.engine_choice import Choice
from rondo_inference.domain.tensors import TensorInfo, Tensors, rows_of
from rondo_inference.engines.contest import ByRows, Contest
from rondo_inference.engines.engine import Engine
from rondo_inference.engines.golden import Golden
from rondo_inference.engines.runtimes import Engines, Runtime, Step

__all__ = ["Proved", "VersionFiles", "proved_engine"]

_WARM_ROWS = (1, 2, 4, 8)
_LONE_RUNS = 3
_UNKNOWN_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """What a version consists of, wherever it was kept.

    Attributes:
        names: the files that engines may read.
        save: writes one of them, verified where there is an index. Raises ``NotFound`` or
            ``Invalid`` where it is missing or another, ``Unavailable`` where it may come later, and
            ``OSError`` where it cannot be written.
        spec: what its columns and labels are, or None for a model that is only tensors.
        index: names input and output and the tolerance; where there is a spec there is an index.
        golden: inputs and what Keras answered; where there is a spec there are golden outputs.
    """

    names: tuple[str, ...]
    save: Callable[[str, Path], None]
    spec: ModelSpec | None = None
    index: ExportIndex | None = None
    golden: bytes | None = None


@dataclass(frozen=True, slots=True)
class Proved:
    """What computes a version.

    Attributes:
        engine: warm.
        row_seconds: that one row takes.
        choice: which runtimes it is.
        seconds: rows of a batch -> runtime -> what it took; empty where nothing was to choose.
    """

    engine: Engine
    row_seconds: float
    choice: Choice
    seconds: Mapping[int, Mapping[str, float]]


def proved_engine(files: VersionFiles, engines: Engines) -> Proved:
    """Open and check every engine that the version is exported for; take the fastest, and warm it.

    One is opened after the other, and let go as soon as it computes nothing: see `Contest`.

    Raises:
        Invalid, NotFound: no engine can compute it; the error is that of the preferred one.
        Unavailable: a file may come later.
    """
    contest = Contest(_golden(files), engines.largest, engines.clock)
    for runtime in engines.runtimes:
        names = runtime.files(files.names)
        if not names or (runtime.spare and contest.engines):
            continue
        try:
            _enter(contest, runtime, names, files, engines.step)
        except (Invalid, NotFound) as exc:
            contest.drop(runtime.name, exc)
    if not contest.engines and not contest.errors:
        raise NotFound("the version has no file that an engine reads")
    by_rows, found = contest.by_rows(), contest.engines
    engine = found[by_rows[0][1]]
    if len(by_rows) > 1:
        engine = ByRows([(rows, found[name]) for rows, name in by_rows])
    choice = Choice(by_rows, {name: str(error) for name, error in contest.errors.items()})
    row_seconds = _row_seconds(engine, contest.golden, engines.step)
    return Proved(engine, row_seconds, choice, contest.seconds)


def _golden(files: VersionFiles) -> Golden | None:
    if files.spec is None or files.index is None or files.golden is None:
        return None
    inputs, outputs = decode_holdout(files.golden)
    _check_shapes(files.spec, inputs.shape, outputs.shape)
    return Golden(inputs.astype(np.float32), outputs.astype(np.float32), files.index.tolerance)


def _enter(
    contest: Contest, runtime: Runtime, names: Sequence[str], files: VersionFiles, step: Step
) -> None:
    """Open an engine, and let it compete if it agrees with the golden outputs."""
    golden = contest.golden
    with _unpacked(names, files, step) as folder, step():
        engine = runtime.open(folder)
    if golden is not None and files.index is not None and files.spec is not None:
        _check_ends(engine, files.index, files.spec, runtime.file)
        with step():
            golden.check(engine, golden.rows, file=runtime.file)
    with step():
        contest.enter(runtime.name, engine)


@contextmanager
def _unpacked(names: Sequence[str], files: VersionFiles, step: Step) -> Iterator[Path]:
    """Yield a folder with files of a version that is there for a moment.

    So engines can map what they read: it is copied once, whatever happens to the original.
    """
    try:
        scratch = tempfile.TemporaryDirectory()
    except OSError as exc:
        raise Unavailable(f"a version's files need a folder below TMPDIR: {exc.strerror}") from exc
    with scratch as text:
        folder = Path(text)
        for name in names:
            try:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with step():
                    files.save(name, folder / name)
            except OSError as exc:
                raise Unavailable(f"{name} cannot be copied: {exc.strerror}") from exc
        yield folder


def _check_ends(engine: Engine, index: ExportIndex, spec: ModelSpec, file: str) -> None:
    """A version with a spec has one float32 input and one output of exactly the spec's shapes."""
    signature = engine.signature
    for kind, found, name, sides in (
        ("input", signature.inputs, index.input, len(spec.input.shape)),
        ("output", signature.outputs, index.output, 1),
    ):
        ends = [(info.name, info.datatype, len(info.shape)) for info in found]
        if ends != [(name, "FP32", 1 + sides)]:
            wanted = f"one float32 {name!r} with {1 + sides} axes"
            raise ExportInvalid(f"{file}: its {kind} is {ends}, promised was {wanted}")


def _check_shapes(spec: ModelSpec, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    wanted = (inputs[0], *spec.input.shape), (inputs[0], len(spec.outputs))
    if (inputs, outputs) != wanted:
        raise ExportInvalid(f"{GOLDEN_FILE}: shapes {inputs} and {outputs}, expected {wanted}")


def _row_seconds(engine: Engine, golden: Golden | None, step: Step) -> float:
    if golden is not None:
        return _warm_up(engine, (golden.inputs,), step)
    try:
        return _warm_up(engine, tuple(map(_zeros, engine.signature.inputs)), step)
    except ExportInvalid:
        return _UNKNOWN_SECONDS  # nobody can say which shapes a bare model likes


def _zeros(info: TensorInfo) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    shape = tuple(max(1, side) for side in info.shape)
    return np.full(shape, b"", object) if info.dtype == object else np.zeros(shape, info.dtype)


def _warm_up(engine: Engine, examples: Tensors, step: Step) -> float:
    """Run batches of several sizes: the runtime plans its memory by shape. Return a row's cost.

    It is that of the cheapest run, for whatever else the machine does makes the others dearer.
    """
    batches = [examples] * _LONE_RUNS
    if engine.signature.by_row:
        batches = [
            tuple(np.resize(tensor, (rows, *tensor.shape[1:])) for tensor in examples)
            for rows in (*_WARM_ROWS, *[1] * _LONE_RUNS)
        ]
    seconds = []
    for batch in batches:
        with step():
            start = time.perf_counter()
            engine.run(batch)
            seconds.append((time.perf_counter() - start) / rows_of(batch))
    return min(seconds)
