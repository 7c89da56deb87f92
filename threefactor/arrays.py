"""Types shared by kernels and faces."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]  # float32 or float64, contiguous where a kernel takes it
Ints: TypeAlias = npt.NDArray[np.int64]

LINE = 64  # bytes of a cache line


def zeros(size: int, dtype: npt.DTypeLike) -> Array:
    """A row of zeros that starts on a cache line; NumPy's own start anywhere, and vectors then lie across two lines."""
    item = np.dtype(dtype).itemsize
    room = np.zeros(size + LINE // item, dtype)
    first = -room.ctypes.data % LINE // item
    return room[first : first + size]
