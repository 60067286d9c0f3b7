"""``combine`` and ``replay``: the bytes of a round, made again by hand."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rondo_aggregator import main as program
from rondo_core.encodings import encode as encode_update
from rondo_core.events import Scalar
from rondo_core.keys import version_key
from rondo_core.layout import Float32Array, Layout, TensorSpec
from rondo_core.model_store import slot_key, weights_key
from rondo_core.optimizer_state import decode_state
from rondo_core.run_store import Update
from rondo_core.weights import decode, encode
from tests.unit.rondo_aggregator.aggregator_world import World
from tests.unit.rondo_aggregator.played_rounds import play
from tests.unit.rondo_aggregator.round_rows import CLIENTS, LAYOUT

Command = Callable[..., tuple[int, Any]]
DELTAS = np.random.default_rng(4).normal(size=(3, LAYOUT.size)).astype(np.float32)
EXAMPLES = {"ada": 3, "bob": 1, "cyd": 4}
BASE = np.linspace(-1, 1, LAYOUT.size, dtype=np.float32)


class Cloud:
    def __init__(self, world: World) -> None:
        self.run_store = world.store
        self.model_store = world.models


@pytest.fixture
def command(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Return what runs ``rondo-aggregator`` here: its exit code, and its answer or error."""
    monkeypatch.setattr(program, "connect", lambda _: Cloud(world))
    monkeypatch.setattr(program, "configure_logging", lambda *_, **__: None)
    monkeypatch.setenv("REDIS_URL", "memory://")

    def run(*arguments: object) -> tuple[int, Any]:
        monkeypatch.setattr("sys.argv", ["rondo-aggregator", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            program.main()
        output = capsys.readouterr()
        code = int(exit_.value.code or 0)
        return code, json.loads(output.out) if output.out else output.err

    return run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with a base and three deltas."""
    (tmp_path / "base.safetensors").write_bytes(encode(LAYOUT, BASE))
    for client, delta in zip(CLIENTS, DELTAS, strict=True):
        (tmp_path / f"{client}.safetensors").write_bytes(encode(LAYOUT, delta))
    return tmp_path


def arguments(folder: Path, *clients: str, base: str = "base", out: str = "next") -> list[str]:
    updates = [f"--update={folder / client}.safetensors:{EXAMPLES[client]}" for client in clients]
    files = [f"--base={folder / base}.safetensors", f"--out={folder / out}.safetensors"]
    return ["combine", *files, *updates]


def weights(path: Path) -> Float32Array:
    return decode(path.read_bytes(), LAYOUT)


def committed(
    world: World,
    strategy: str,
    parameters: dict[str, Scalar] | None = None,
    *,
    steps: Mapping[str, float] | None = None,
) -> str:
    """Let a round of the same updates be combined by tasks; return the version's digest."""
    world.open_round(base=BASE)
    for client, delta in zip(CLIENTS, DELTAS, strict=True):
        said: dict[str, Any] = {} if steps is None else {"steps": steps[client]}
        world.submit(client, delta, examples=EXAMPLES[client], **said)
    world.judge(*CLIENTS)
    world.seal()
    world.write_manifest(strategy, parameters)
    world.combine()
    assert world.round().result is not None, world.round().reason
    return str(world.round().result)


@pytest.mark.parametrize(
    ("strategy", "parameters"),
    [
        ("fedavg", {}),
        ("fedyogi", {"tau": 0.5}),
        ("geometric-median", {}),
        ("composed", {"column_rule": "median", "server_optimizer": "momentum", "nesterov": True}),
    ],
)
@pytest.mark.parametrize("order", [CLIENTS, CLIENTS[::-1]])
def test_files_combine_to_the_bytes_of_a_round(
    world: World,
    command: Command,
    files: Path,
    strategy: str,
    parameters: dict[str, Scalar],
    order: tuple[str, ...],
) -> None:
    sha256 = committed(world, strategy, parameters)
    chosen = [
        f"--set={name}={json.dumps(value)}".replace('"', "") for name, value in parameters.items()
    ]

    code, answer = command(
        *arguments(files, *order), "--strategy", strategy, *chosen, "--state-out", files / "state"
    )

    version = world.version()
    assert version is not None
    assert (code, answer["sha256"]) == (0, sha256)
    assert hashlib.sha256((files / "next.safetensors").read_bytes()).hexdigest() == sha256
    assert answer["optimizer_state"] == version.optimizer_state
    assert list(answer["weights"]) == list(CLIENTS)


@pytest.mark.parametrize(
    ("strategy", "parameters"), [("fednova", []), ("scaffold", ["--set", "population=7"])]
)
def test_files_combine_by_their_steps_to_the_bytes_of_a_round(
    world: World, command: Command, files: Path, strategy: str, parameters: list[str]
) -> None:
    steps = {"ada": 2.5, "bob": 1.0, "cyd": 36.0}
    chosen: dict[str, Scalar] = {"population": 7} if parameters else {}
    sha256 = committed(world, strategy, chosen, steps=steps)
    plain = arguments(files, *CLIENTS)
    given = [f"{one}:0:{steps[client]}" for one, client in zip(plain[3:], CLIENTS, strict=True)]
    rest = ["--strategy", strategy, *parameters, "--state-out", files / "state"]

    code, answer = command(*plain[:3], *given, *rest)

    version = world.version()
    assert version is not None
    assert (code, answer["sha256"]) == (0, sha256)
    assert answer["optimizer_state"] == version.optimizer_state


def test_a_state_is_written_and_the_next_round_goes_on_with_it(
    command: Command, files: Path
) -> None:
    first = [*arguments(files, *CLIENTS), "--strategy=fedadam", "--state-out", str(files / "one")]
    assert command(*first)[0] == 0

    code, _ = command(
        *arguments(files, *CLIENTS, base="next", out="after"),
        "--strategy=fedadam",
        f"--state-in={files / 'one'}",
        f"--state-out={files / 'two'}",
    )

    examples = list(EXAMPLES.values())
    once = play("fedadam", {}, list(DELTAS), base=BASE, examples=examples)
    twice = play("fedadam", {}, list(DELTAS), examples=examples, before=once)
    state = decode_state((files / "two" / "state.json").read_bytes())
    assert code == 0
    assert weights(files / "after.safetensors").tobytes() == twice.weights.tobytes()
    assert (
        weights(files / "two" / "second.safetensors").tobytes() == twice.slots["second"].tobytes()
    )
    assert (state.step, state.strategy) == (2, "fedadam")


def test_a_scalar_state_needs_no_vectors(command: Command, files: Path) -> None:
    once = [*arguments(files, *CLIENTS), "--strategy=adaptive-clipped-mean"]

    assert command(*once, f"--state-out={files / 'state'}")[0] == 0
    assert command(*once, f"--state-in={files / 'state'}", f"--state-out={files / 'more'}")[0] == 0

    norms = [
        decode_state((files / name / "state.json").read_bytes()).scalars["clip_norm"]
        for name in ("state", "more")
    ]
    assert norms[1] > norms[0] > 0.1


def test_what_does_not_fit_is_refused_with_the_file_and_the_rule(
    command: Command, files: Path
) -> None:
    other = Layout((TensorSpec("dense/kernel", (7,)),))
    (files / "other.safetensors").write_bytes(encode(other, BASE))
    bad = BASE.copy()
    bad[5] = np.nan
    (files / "nan.safetensors").write_bytes(encode(LAYOUT, bad))
    (files / "short.safetensors").write_bytes(encode(LAYOUT, BASE)[:-4])
    (files / "empty.safetensors").write_bytes(b"")
    three = arguments(files, *CLIENTS)

    for extra, rule in (
        ([f"--update={files / 'other'}.safetensors:1"], "other.safetensors: the file does not st"),
        ([f"--update={files / 'nan'}.safetensors:1"], "nan.safetensors: dense/bias at [1] is nan"),
        (
            [f"--update={files / 'short'}.safetensors:1"],
            "short.safetensors: 168 bytes, expected 172",
        ),
        ([f"--update={files / 'empty'}.safetensors:1"], "empty.safetensors cannot be read"),
        ([f"--update={files / 'ada'}.safetensors:1"], "2 updates are of the client 'ada'"),
        ([f"--base={files / 'nothing'}.safetensors"], "nothing.safetensors cannot be read"),
        ([f"--base={files / 'empty'}.safetensors"], "empty.safetensors cannot be read"),
        (["--strategy=magic"], "unknown strategy 'magic'"),
        (["--strategy=fedadam"], "keeps a state: say where, with --state-out"),
        (["--strategy=krum"], "krum with 1 attackers needs more than"),
        (["--strategy=fedadam", f"--state-out={files}/s", f"--state-in={files}"], "no state"),
    ):
        code, error = command(*three, *extra)

        assert (code, rule in error) == (1, True), error
    assert not (files / "next.safetensors").exists()
    assert not list(files.glob(".new-*"))


def test_a_base_that_is_no_safetensors_file_is_named(command: Command, files: Path) -> None:
    (files / "base.safetensors").write_bytes(b"\x80\x04 a pickle, perhaps")

    code, error = command(*arguments(files, *CLIENTS))

    assert code == 1
    assert "base.safetensors: " in error


def test_a_result_that_is_not_finite_leaves_no_file(command: Command, files: Path) -> None:
    large = np.full(LAYOUT.size, 3e38, np.float32)
    for name in ("base", "ada"):
        (files / f"{name}.safetensors").write_bytes(encode(LAYOUT, large))

    code, error = command(*arguments(files, "ada"))

    assert (code, "column 0 of the result is inf" in error) == (1, True)
    assert not list(files.glob("*next*")) + list(files.glob(".new-*"))


def test_a_state_whose_vectors_are_not_those_it_names_is_refused(
    command: Command, files: Path
) -> None:
    options = ["--strategy=fedavgm", f"--state-out={files / 'state'}"]
    assert command(*arguments(files, *CLIENTS), *options)[0] == 0
    (files / "state" / "velocity.safetensors").write_bytes(encode(LAYOUT, BASE))

    code, error = command(*arguments(files, *CLIENTS), *options, f"--state-in={files / 'state'}")

    assert (code, "velocity.safetensors has the digest" in error) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["replay", "run-1"], "'run-1' is not RUN/ROUND"),
        (["replay", "run-1/x"], "'run-1/x' is not RUN/ROUND"),
        (["replay", "run-1/1", "--set", "trim"], "'trim' is not NAME=VALUE"),
        (["combine", "--update", "a.safetensors"], "is not FILE:EXAMPLES"),
        (["combine", "--update", "a.safetensors:-1"], "is not FILE:EXAMPLES"),
        (["combine", "--update", "a.safetensors:1:2:x"], "is not FILE:EXAMPLES"),
        (["combine", "--update", "a.safetensors:1:2:0.5"], "is not FILE:EXAMPLES"),
        (["combine", "--update", "a.safetensors:1:2:3:4"], "is not FILE:EXAMPLES"),
        (["dance"], "invalid choice: 'dance'"),
    ],
)
def test_a_malformed_command_line_is_refused(
    command: Command, arguments: list[str], rule: str
) -> None:
    code, error = command(*arguments)

    assert (code, rule in error) == (2, True), error


@pytest.mark.parametrize("encoding", ["float16", "bfloat16", "int8", "top-k:0.3"])
def test_encoded_files_combine_and_replay_to_the_bytes_of_their_round(
    world: World, command: Command, files: Path, encoding: str
) -> None:
    world.encoding = encoding
    sha256 = committed(world, "fedavg")
    for client, update in world.updates().items():
        (files / f"{client}.safetensors").write_bytes(world.models.get(update.key))

    code, answer = command(*arguments(files, *CLIENTS))
    replayed, again = command("replay", "run-1/1")

    assert (code, answer["sha256"]) == (0, sha256)
    assert (replayed, again["same"]) == (0, True)


def test_files_in_mixed_encodings_are_refused(command: Command, files: Path) -> None:
    data = encode_update(LAYOUT, DELTAS[1], "int8", np.random.default_rng(1))
    (files / "bob.safetensors").write_bytes(data)

    code, error = command(*arguments(files, *CLIENTS))

    assert code == 1
    assert "mixed encodings: " in error
    assert "ada.safetensors is in float32, " in error
    assert "bob.safetensors in int8; all updates of a round are in one" in error


def test_a_replay_finds_the_bytes_that_were_committed(world: World, command: Command) -> None:
    sha256 = committed(world, "fedadam")

    code, answer = command("replay", "run-1/1")

    assert code == 0
    assert (answer["committed"], answer["replayed"], answer["same"]) == (sha256, sha256, True)
    assert (answer["distance"], answer["where"]) == (0, "")
    assert answer["weights"] == {"ada": 3, "bob": 1, "cyd": 4}


def test_a_replay_without_a_client_shows_what_it_was_worth(world: World, command: Command) -> None:
    committed(world, "fedavg")
    left = [DELTAS[0], DELTAS[2]]

    code, answer = command("replay", "run-1/1", "--without", "bob")

    expected = play("fedavg", {}, left, base=BASE, examples=[3, 4])
    difference = expected.weights.astype(np.float64) - world.weights()
    column = int(np.abs(difference).argmax())
    name, position = LAYOUT.locate(column)
    assert (code, answer["same"]) == (0, False)
    assert answer["distance"] == pytest.approx(np.linalg.norm(difference))
    assert answer["step"] == pytest.approx(np.linalg.norm(world.weights() - BASE), rel=1e-6)
    assert answer["largest"] == pytest.approx(abs(difference[column]))
    assert answer["where"] == f"{name}{list(position)}"
    assert answer["weights"] == {"ada": 3, "cyd": 4}


@pytest.mark.parametrize("strategy", ["krum", "fedavg"])
def test_a_replay_with_another_strategy_is_that_strategys_round(
    world: World, command: Command, strategy: str
) -> None:
    committed(world, "fedavg", {"server_learning_rate": 0.5})
    options = ["--set", "attackers=0"] if strategy == "krum" else ["--set", "examples_cap=2"]

    code, answer = command("replay", "run-1/1", "--strategy", strategy, *options)

    parameters: dict[str, Scalar] = {"attackers": 0} if strategy == "krum" else {"examples_cap": 2}
    expected = play(strategy, parameters, list(DELTAS), base=BASE, examples=[3, 1, 4])
    data = encode(LAYOUT, expected.weights)
    assert (code, answer["replayed"]) == (0, hashlib.sha256(data).hexdigest())
    assert answer["fresh_state"] is False


def test_a_replay_with_a_strategy_that_keeps_something_else_begins_afresh(
    world: World, command: Command
) -> None:
    committed(world, "fedadam")
    version = world.version()
    assert version is not None
    world.write_manifest("fedadam", {}, version.optimizer_state)
    again = world.round().manifest or ""
    world.store.commit(Update(version_key("run-1", 1), assign={"manifest": again}))

    code, answer = command("replay", "run-1/1", "--strategy", "fedavgm")
    assert (code, answer["fresh_state"]) == (0, True)
    code, answer = command("replay", "run-1/1", "--strategy", "fedyogi")
    assert (code, answer["fresh_state"]) == (0, False)


def test_an_audit_that_finds_other_bytes_fails(world: World, command: Command) -> None:
    committed(world, "fedavg")
    forged = encode(LAYOUT, BASE)
    digest = hashlib.sha256(forged).hexdigest()
    world.models.put(weights_key(digest), forged)
    world.store.commit(Update(version_key("run-1", 1), assign={"sha256": digest}))

    code, answer = command("replay", "run-1/1")

    assert (code, answer["same"], answer["committed"]) == (1, False, digest)


def test_what_cannot_be_replayed_is_refused(world: World, command: Command) -> None:
    committed(world, "fedadam")

    for arguments_, rule in (
        (["run-1/7"], "there is no version run-1/7"),
        (["run-1/0"], "run-1/0 was made by no round"),
        (["run-1/1", "--without", "eve"], "'eve' has no update in this round"),
        (["run-1/1", "--strategy", "bulyan"], "bulyan with 1 attackers needs at least"),
    ):
        code, error = command("replay", *arguments_)
        assert (code, rule in error) == (1, True), error


def test_an_audit_of_a_state_of_another_strategy_is_refused(world: World, command: Command) -> None:
    committed(world, "fedadam")
    version = world.version()
    assert version is not None
    world.write_manifest("fedavgm", {}, version.optimizer_state)
    again = world.round().manifest or ""
    world.store.commit(Update(version_key("run-1", 1), assign={"manifest": again}))

    code, error = command("replay", "run-1/1")

    assert (code, "the optimizer state of 'fedadam' keeps" in error) == (1, True)


def test_replaying_writes_nothing(world: World, command: Command) -> None:
    committed(world, "krum", {"attackers": 0})
    commits = len(world.store.commits)
    slot = slot_key("0" * 64)

    assert command("replay", "run-1/1", "--strategy", "fedadam")[0] == 0

    assert len(world.store.commits) == commits
    assert world.models.head(slot) is None
