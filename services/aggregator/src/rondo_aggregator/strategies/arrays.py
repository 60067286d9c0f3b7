"""The one array type that NumPy has no short name for."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Float64Array"]

Float64Array = NDArray[np.float64]
