"""The array types of the strategies."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "Float64Array"]

Float64Array = NDArray[np.float64]
Block = NDArray[np.float32] | NDArray[np.float64]
"""(clients, columns): a stretch of all deltas, a scratch copy that a rule may overwrite."""
