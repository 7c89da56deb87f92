"""Types shared by kernels and faces."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]  # float32 or float64, contiguous where a kernel takes it
Ints: TypeAlias = npt.NDArray[np.int64]
