"""PNG and JPEG to what a model takes."""

import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.input_schema import ImageInput
from rondo_core.layout import Float32Array
from rondo_core.model_spec import ModelSpec

__all__ = ["PICTURES", "Fit", "decode_pictures"]

PICTURES = ("image/png", "image/jpeg")
Fit = Literal["refuse", "resize"]
"""What happens to a picture of another size."""

MOST_PIXELS = 64 * 1024 * 1024
"""A small file can say that it is a very large picture."""

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_BRIGHTEST = 255.0


def decode_pictures(
    spec: ModelSpec | None, files: Sequence[bytes | memoryview], *, fit: Fit
) -> Float32Array:
    """Return pictures as the model takes them, float32 (n, height, width, channels).

    Colours become grey where the model wants one channel; 0..255 becomes the spec's range.

    Args:
        spec: of a model that takes pictures.
        files: PNG or JPEG.
        fit: whether a picture of another size is resized (bilinear) or refused.

    Raises:
        Invalid: the model takes no pictures, or there is none.
        RowInvalid: names the picture that cannot be read or has another size.
    """
    if spec is None or not isinstance(spec.input, ImageInput):
        raise Invalid("the model takes no pictures")
    if not files:
        raise Invalid("there is no picture")
    return np.stack([_decode(spec.input, file, at, fit) for at, file in enumerate(files)])


def _decode(schema: ImageInput, file: bytes | memoryview, at: int, fit: Fit) -> Float32Array:
    mode = _MODES.get(schema.channels)
    if mode is None:
        raise Invalid(f"a picture file has no {schema.channels} channels")
    try:
        with Image.open(io.BytesIO(file), formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                size = f"{picture.width} x {picture.height}"
                raise RowInvalid(at, None, f"a picture of {size} is over {MOST_PIXELS} pixels")
            _check_size(schema, picture, at, fit)
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
