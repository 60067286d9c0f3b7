"""PNG and JPEG to what a model takes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.input_schema import ImageInput
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec
from rondo_inference.domain.row_faults import MOST_FAULTS, RowFault, RowFaults

__all__ = ["MOST_PIXELS", "PICTURES", "Fit", "PixelBudget", "decode_pictures"]

PICTURES = ("image/png", "image/jpeg")
Fit = Literal["refuse", "resize"]
"""What happens to a picture of another size."""

MOST_PIXELS = 64 * 1024 * 1024
"""Of one picture, and of all of a request: a small file can say that it is a very large picture."""

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_BRIGHTEST = 255.0


@dataclass(slots=True)
class PixelBudget:
    """What is left of the pixels that a request may have read; a file's header tells its own."""

    left: int = MOST_PIXELS

    def spend(self, schema: ImageInput, picture: Image.Image, at: int) -> None:
        """Take off what a picture costs: its own pixels, or the model's if they are more.

        Raises:
            RowInvalid: so many are not left; nothing is taken off.
        """
        cost = max(picture.width * picture.height, schema.width * schema.height)
        if cost > self.left:
            size = f"{picture.width} x {picture.height}"
            rule = f"a picture of {size} is over {MOST_PIXELS} pixels, with those before it"
            raise RowInvalid(at, None, rule)
        self.left -= cost


def decode_pictures(
    spec: ModelSpec | None,
    files: Sequence[bytes | memoryview],
    *,
    fit: Fit,
    budget: PixelBudget | None = None,
) -> Float32Array:
    """Return pictures as the model takes them, float32 (n, height, width, channels).

    Colours become grey where the model wants one channel; 0..255 becomes the spec's range.

    Args:
        spec: of a model that takes pictures.
        files: PNG or JPEG.
        fit: whether a picture of another size is resized (bilinear) or refused.
        budget: shared by the calls of one request; None: this is the only one.

    Raises:
        Invalid: the model takes no pictures, or there is none.
        RowFaults: names the pictures that cannot be read, have another size, or too many pixels.
    """
    if spec is None or not isinstance(spec.input, ImageInput):
        raise Invalid("the model takes no pictures")
    if not files:
        raise Invalid("there is no picture")
    budget = budget or PixelBudget()
    decoded: list[Float32Array] = []
    faults: list[RowFault] = []
    for at, file in enumerate(files):
        try:
            decoded.append(_decode(spec.input, file, at, fit, budget))
        except RowInvalid as exc:
            faults.append(RowFault(at, exc.column, exc.rule))
            if len(faults) == MOST_FAULTS:
                break
    if faults:
        raise RowFaults(faults)
    return np.stack(decoded)


def _decode(
    schema: ImageInput, file: bytes | memoryview, at: int, fit: Fit, budget: PixelBudget
) -> Float32Array:
    mode = _MODES.get(schema.channels)
    if mode is None:
        raise Invalid(f"a picture file has no {schema.channels} channels")
    try:
        with Image.open(io.BytesIO(file), formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                size = f"{picture.width} x {picture.height}"
                raise RowInvalid(at, None, f"a picture of {size} is over {MOST_PIXELS} pixels")
            _check_size(schema, picture, at, fit)
            budget.spend(schema, picture, at)
            pixels = picture.convert(mode)
    except UnidentifiedImageError as exc:
        raise RowInvalid(at, None, "is neither PNG nor JPEG") from exc
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise RowInvalid(at, None, f"cannot be read: {exc}") from exc
    if pixels.size != (schema.width, schema.height):
        pixels = pixels.resize((schema.width, schema.height), Image.Resampling.BILINEAR)
    values = np.asarray(pixels, np.float32).reshape(schema.shape)
    if (schema.minimum, schema.maximum) == (0.0, _BRIGHTEST):
        return values
    span = np.float32((schema.maximum - schema.minimum) / _BRIGHTEST)
    scaled: Float32Array = values * span + np.float32(schema.minimum)
    return scaled.clip(schema.minimum, schema.maximum)


def _check_size(schema: ImageInput, picture: Image.Image, at: int, fit: Fit) -> None:
    found = (picture.height, picture.width)
    if fit == "refuse" and found != (schema.height, schema.width):
        raise RowInvalid(
            at,
            None,
            f"a picture of {found[0]} x {found[1]} (height x width), "
            f"the model takes {schema.height} x {schema.width}",
        )
