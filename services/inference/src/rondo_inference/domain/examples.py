"""The JSON body of TF Serving's classify and regress.

Source: TensorFlow Serving RESTful API, "Classify and Regress API"
(tensorflow.org/tfx/serving/api_rest).
"""

from collections.abc import Iterable, Iterator, Mapping

from rondo_core.errors import Invalid
from rondo_core.input_schema import TableInput
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_inference.domain.json_pieces import LARGE_BYTES, blocks, decode_value, members
from rondo_inference.domain.predict_body import SIGNATURE
from rondo_inference.domain.row_faults import decode_blocks, in_blocks, names_of
from rondo_inference.domain.tensor_json import decode_json

__all__ = ["decode_examples"]


def decode_examples(body: bytes, spec: ModelSpec) -> Float32Array:
    """Read ``{"signature_name": …, "context": {…}, "examples": [{…}, …]}``.

    Args:
        body: JSON.
        spec: what the model takes.

    Returns:
        What the model takes, float32 (n, ...), n >= 1.

    Raises:
        Invalid: not of that form.
        RowFaults: examples that do not fit.
    """
    message = _large(body, spec) if len(body) > LARGE_BYTES else _small(body)
    if message.get("signature_name", SIGNATURE) not in ("", SIGNATURE):
        raise Invalid(f"the model has the signature {SIGNATURE!r} only")
    context, examples = message.get("context", {}), message["examples"]
    if not isinstance(context, dict) or not isinstance(examples, Iterable):
        raise Invalid('"context" and every example must be objects')
    rows = _rows(context, examples, spec)
    inputs = decode_blocks(spec, in_blocks(spec, rows))
    if not len(inputs):
        raise Invalid('"examples" is empty')
    return inputs


def _small(body: bytes) -> Mapping[str, object]:
    message = decode_json(body)
    if not isinstance(message, dict) or not isinstance(message.get("examples"), list):
        raise _no_list()
    return message


def _large(body: bytes, spec: ModelSpec) -> Mapping[str, object]:
    """Leave the examples to be read piece by piece."""
    levels = 3 + len(spec.input.shape)  # an object, a list, an example
    found = dict(members(body.strip(), levels))
    examples = found.pop("examples", b"").strip()
    if examples[:1] != b"[":
        raise _no_list()
    rows = (row for block in blocks(examples, levels - 1) for row in block)
    return {"examples": rows, **{key: decode_value(one, levels) for key, one in found.items()}}


def _no_list() -> Invalid:
    return Invalid('the body must have a list "examples"')


def _rows(
    context: Mapping[str, object], examples: Iterable[object], spec: ModelSpec
) -> Iterator[Mapping[str, object]]:
    names = names_of(spec)
    shared = {name: value for name, value in context.items() if name in names}  # as tf.Example does
    for example in examples:
        if not isinstance(example, dict):
            raise Invalid('"context" and every example must be objects')
        row = {**shared, **example}
        if isinstance(spec.input, TableInput):
            row = {name: _single(value) for name, value in row.items()}
        yield row


def _single(value: object) -> object:
    """A feature may be a value or, as in tf.Example, a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
