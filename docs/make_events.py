"""Write docs/events.md from the structs in rondo_core/events.py and the queues in topology.py.

``python docs/make_events.py`` writes the file; with ``--check`` it only compares, and exits 1 when
the file is out of date.
"""

import inspect
import sys
from pathlib import Path

import msgspec

from rondo_core.async_results import AsyncRequest, AsyncResponse, AsyncResult
from rondo_core.events import EVENT_TYPES, RunProgress
from rondo_core.topology import MAX_RECEIVES, QUEUES

TARGET = Path(__file__).parent / "events.md"
PARTS = (RunProgress, AsyncResult, AsyncRequest, AsyncResponse)
"""What events are made of."""
ENVELOPE = {"event_id", "run_id", "occurred_at"}
EXAMPLE = """\
```json
{
  "specversion": "1.0",
  "id": "UpdateAccepted/digits-1/3/1/hospital-a-5f1c0a2b",
  "source": "rondo/aggregator",
  "type": "UpdateAccepted",
  "time": "2026-01-02T03:04:05Z",
  "subject": "digits-1",
  "datacontenttype": "application/json",
  "data": {"round": 3, "attempt": 1, "client_id": "hospital-a-5f1c0a2b", "sha256": "9f86…"}
}
```
"""


def _type_name(schema: dict[str, object]) -> str:
    """Say in a few words what a JSON schema allows."""
    if "$ref" in schema:
        return f"`{str(schema['$ref']).rsplit('/', 1)[-1]}`"
    if "anyOf" in schema:
        options = schema["anyOf"]
        assert isinstance(options, list)  # noqa: S101  (JSON schema says so)
        return " or ".join(_type_name(option) for option in options)
    if "enum" in schema:
        values = schema["enum"]
        assert isinstance(values, list)  # noqa: S101  (JSON schema says so)
        return ", ".join(f"`{value}`" for value in values)
    rules = [f"{name} {schema[key]}" for key, name in _RULES.items() if key in schema]
    return " ".join([str(schema.get("format", schema.get("type", "any"))), *rules])


_RULES = {"minimum": "≥", "maximum": "≤", "exclusiveMinimum": ">", "maxLength": "length ≤"}


def render() -> str:
    """Return the whole document."""
    heard = {
        event: [queue.service for queue in QUEUES if struct in queue.receives]
        for event, struct in EVENT_TYPES.items()
    }
    _, schemas = msgspec.json.schema_components(tuple(EVENT_TYPES.values()))
    lines = [
        "# Events",
        "",
        (
            "Generated from `rondo_core/events.py` and `rondo_core/topology.py` by `make docs`; "
            "do not edit."
        ),
        "",
        (
            "CloudEvents 1.0 JSON on one SNS topic, delivered raw to one SQS queue per service. "
            "Queues filter on the body's `type`. "
            "`id`, `type`, `time` and `subject` (the run) are the envelope's; the fields below are "
            "its `data`. `traceparent` is there where spans are recorded. "
            "Ids of facts are deterministic, so a repeated event has the same id."
        ),
        "",
        EXAMPLE,
        "| queue | hears | visibility timeout |",
        "|---|---|---|",
    ]
    for queue in QUEUES:
        names = ", ".join(f"`{struct.__name__}`" for struct in queue.receives)
        lines.append(f"| `{queue.service}` | {names} | {queue.visibility_seconds} s |")
    (strays,) = (queue.service for queue in QUEUES if queue.takes_strays)
    lines += [
        "",
        f"A message is dead-lettered after {MAX_RECEIVES} receives.",
        f"What is of no type below, or of none, goes to the `{strays}` queue and is dead-lettered.",
        "",
    ]
    for event, struct in EVENT_TYPES.items():
        to = ", ".join(heard[event]) or "nobody here (for subscribers of your own)"
        lines += [f"## {event}", "", f"{inspect.getdoc(struct)}", "", f"Heard by: {to}.", ""]
        lines += _fields(schemas[event])
    for part in PARTS:
        lines += [f"## {part.__name__}", "", f"{inspect.getdoc(part)}", ""]
        lines += _fields(schemas[part.__name__])
    return "\n".join(lines).rstrip() + "\n"


def _fields(schema: dict[str, object]) -> list[str]:
    properties, required = schema["properties"], schema.get("required", [])
    assert isinstance(properties, dict)  # noqa: S101  (JSON schema says so)
    assert isinstance(required, list)  # noqa: S101  (JSON schema says so)
    rows = [
        f"| `{name}` | {_type_name(kind)} | {'yes' if name in required else _default(kind)} |"
        for name, kind in properties.items()
        if name not in ENVELOPE
    ]
    return ["| field | type | required, or default |", "|---|---|---|", *rows, ""]


def _default(kind: dict[str, object]) -> str:
    return f"`{kind.get('default')!r}`"


def main() -> int:
    """Write or compare; return the exit code."""
    text = render()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, "utf-8")
        return 0
    if TARGET.read_text("utf-8") != text:
        print("docs/events.md is out of date: run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
