"""Write docs/settings.md from the settings dataclasses of every process.

``python docs/make_settings.py`` writes the file; with ``--check`` it only compares, and exits 1
when the file is out of date. A field that its class does not explain under ``Attributes`` is an
error.
"""

import dataclasses
import inspect
import re
import sys
import types
import typing
from pathlib import Path

from rondo_aggregator.settings import AggregatorSettings
from rondo_core.celery_worker import CelerySettings
from rondo_core.settings import AwsSettings, Secret, ServiceSettings
from rondo_dispatcher.settings import Settings as DispatcherSettings
from rondo_evaluator.settings import Settings as EvaluatorSettings
from rondo_gateway.settings import Settings as GatewaySettings
from rondo_inference.batch.settings import BatchSettings
from rondo_inference.settings import Settings as InferenceSettings
from rondo_local.bootstrap import BootstrapSettings

TARGET = Path(__file__).parent / "settings.md"

HEAD = """\
# Settings

Generated from the settings classes by `make docs`; do not edit.

Every process reads its variables once, when it starts. There is no other configuration. An empty
variable counts as absent. A process whose variables are missing or wrong does not start: it exits
with 2, and the one line that it prints to stderr names each of them, the value found (a secret's
never) and the rule. What may pass by itself, as a port in use or a store that does not answer, is
such a line too, and exits with 1.
"""

SECTIONS: tuple[tuple[str, str, type], ...] = (
    (
        "Every process",
        """\
Credentials come from where the AWS SDK finds them: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`,
or the role of the machine.""",
        AwsSettings,
    ),
    (
        "Workers: aggregator, batch, dispatcher, evaluator",
        """\
This is their only address. Gateway and inference answer the same paths on their own port.""",
        ServiceSettings,
    ),
    (
        "Workers with tasks: aggregator, batch",
        """\
Give the intake and the workers of one service the same values.""",
        CelerySettings,
    ),
    ("gateway", "`rondo-gateway`", GatewaySettings),
    ("dispatcher", "`rondo-dispatcher`", DispatcherSettings),
    (
        "aggregator",
        """\
`rondo-aggregator intake` and `rondo-aggregator worker`; give both the same values.""",
        AggregatorSettings,
    ),
    ("evaluator", "`rondo-evaluator`", EvaluatorSettings),
    ("inference", "`rondo-inference`", InferenceSettings),
    (
        "batch",
        """\
`rondo-inference batch-intake` and `rondo-inference batch-worker`; give both the same values. A task
here may read gigabytes, so `TASK_SECONDS` is 600 unless it is set.""",
        BatchSettings,
    ),
    (
        "bootstrap",
        """\
`python -m rondo_local.bootstrap` makes topic, queues, table, bucket and state machine in an
emulator. It may be run again.""",
        BootstrapSettings,
    ),
)

TAIL = """\
## The SDK and the `rondo` command

- `RONDO_URL`: the gateway's address, for `rondo run`, `model` and `client`; the option `--url`
  overrides it. Default: `http://127.0.0.1:8080`.
- `RONDO_INFERENCE_URL`: inference's address, for `rondo predict`; `--url` overrides it. Default:
  `http://127.0.0.1:8081`.
- `RONDO_API_KEY`: an API key of inference, for `rondo predict`, if the server wants one; the file
  that `--key-file` names goes before it. Default: none.
- `RONDO_TOKEN`: the operators' token. Without it the command reads the file
  `build/local/operator-token`, then `~/.rondo/operator-token`; only its owner may be able to read
  it.
- `RONDO_HOME`: where a client keeps its key, its identity and what is not judged yet. Default:
  `~/.rondo`.

## Libraries

- `ORT_DISABLE_TELEMETRY=1` for evaluator and inference: ONNX Runtime's Linux build would call home.
- `KERAS_BACKEND=tensorflow` for the evaluator and for clients with Keras: the one backend that is
  tested.
- `TF_CPP_MIN_LOG_LEVEL=2` for the same: leaves out TensorFlow's messages about itself.
"""


def render() -> str:
    """Return the whole document.

    Raises:
        LookupError: a field is not explained where it is declared.
    """
    parts = [HEAD]
    for title, about, kind in SECTIONS:
        rows = [
            _row(kind, field) for field in dataclasses.fields(kind) if _is_own(kind, field.name)
        ]
        table = ["| variable | type | default | meaning |", "|---|---|---|---|", *rows]
        parts.append("\n".join([f"## {title}", "", about, "", *table, ""]))
    return "\n".join([*parts, TAIL])


def _is_own(kind: type, name: str) -> bool:
    return name in vars(kind).get("__annotations__", {})


def _row(kind: type, field: "dataclasses.Field[object]") -> str:
    wanted = typing.get_type_hints(kind)[field.name]
    cells = (
        f"`{field.name.upper()}`",
        _type_name(wanted),
        _default(field),
        _in_capitals(kind, _meanings(kind)[field.name].replace("``", "`")),
    )
    return f"| {' | '.join(cells)} |"


def _type_name(wanted: object) -> str:
    if isinstance(wanted, types.UnionType):
        (wanted,) = (one for one in typing.get_args(wanted) if one is not type(None))
    if typing.get_origin(wanted) is typing.Literal:
        return "text"
    names = {str: "text", int: "whole number", float: "number", bool: "0 or 1", Secret: "secret"}
    return names[typing.cast("type", wanted)]


def _default(field: "dataclasses.Field[object]") -> str:
    if field.default is dataclasses.MISSING:
        return "**required**"
    return "none" if field.default is None else f"`{field.default}`"


def _in_capitals(kind: type, text: str) -> str:
    """Spell fields that a text mentions as the variables that they are."""
    fields = {field.name for field in dataclasses.fields(kind)}
    return re.sub(r"`(\w+)`", lambda m: m[0].upper() if m[1] in fields else m[0], text)


def _meanings(kind: type) -> dict[str, str]:
    """Read the ``Attributes`` of a class's own docstring: field -> what it means."""
    _, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for line in attributes.splitlines():
        start = re.fullmatch(r"    (\w+): (.+)", line)
        if start:
            name, found[name] = start[1], start[2]
        elif line.strip():
            found[name] += f" {line.strip()}"
    fields = {field.name for field in dataclasses.fields(kind) if _is_own(kind, field.name)}
    if fields ^ found.keys():
        raise LookupError(
            f"{kind.__module__}: Attributes and fields differ: {fields ^ found.keys()}"
        )
    return found


def main() -> int:
    """Write or compare; return the exit code."""
    text = render()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, "utf-8")
        return 0
    if not TARGET.exists() or TARGET.read_text("utf-8") != text:
        print("docs/settings.md is out of date: run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
