"""Whether inputs are what a version takes, whatever door they came in by."""

from rondo_core.errors import Invalid
from rondo_core.input_bounds import Beyond, warned
from rondo_inference.domain.row_faults import decode_every_row
from rondo_inference.domain.tensors import BYTES, Tensor, TensorInfo, Tensors, check_tensor
from rondo_inference.registry.served import ServedModel

__all__ = ["beyond_bounds", "checked"]


def checked(served: ServedModel, inputs: Tensors) -> Tensors:
    """Return inputs that the version takes: types, shapes, and the schema's rules.

    Args:
        served: the version.
        inputs: in the order of its signature.

    Raises:
        Invalid: names the input, what was found and what is wanted.
        RowFaults: rows that do not fit, each with its column, its value and the rule.
    """
    infos = served.signature.inputs
    if served.spec is not None:  # which says the same of its one input as the signature
        rows = decode_every_row(served.spec, inputs[0])
        if not len(rows):
            raise _empty()
        return (rows,)
    for info, tensor in zip(infos, inputs, strict=True):
        check_tensor(info, tensor)
        if info.datatype == BYTES:
            _check_text(info, tensor)
    _check_rows(infos, inputs, by_row=served.signature.by_row)
    return inputs


def beyond_bounds(served: ServedModel, inputs: Tensors) -> tuple[Beyond, ...]:
    """Return the numbers that are answered though they are beyond the bounds of their columns.

    Args:
        served: the version.
        inputs: checked.
    """
    return () if served.spec is None else warned(served.spec.input, inputs[0])


def _check_rows(infos: tuple[TensorInfo, ...], inputs: Tensors, *, by_row: bool) -> None:
    if not by_row:
        return
    rows = {len(tensor) for tensor in inputs}
    if len(rows) != 1:
        found = ", ".join(
            f"{info.name!r} has {len(tensor)}" for info, tensor in zip(infos, inputs, strict=True)
        )
        raise Invalid(f"the inputs have different numbers of rows: {found}")
    if rows == {0}:
        raise _empty()


def _empty() -> Invalid:
    return Invalid("there is no row: the batch is empty")


def _check_text(info: TensorInfo, tensor: Tensor) -> None:
    """ONNX knows text and not bytes, and its text is UTF-8."""
    for place, element in enumerate(tensor.ravel()):
        try:
            element.decode()
        except UnicodeDecodeError as exc:
            raise Invalid(
                f"input {info.name!r}, element {place}: the model takes UTF-8, {exc.reason} at "
                f"byte {exc.start}"
            ) from exc
