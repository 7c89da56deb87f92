"""Initial weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from threefactor.arrays import Array
from threefactor.settings import NetworkSettings


def draw_weights(weights: dict[str, Any], feedback: dict[str, Array], s: NetworkSettings) -> None:
    """Fill weights and feedback in place: normal, deviation = scale / sqrt(presynaptic neurons), no autapses."""
    rng = np.random.default_rng(s.seed)
    for name, w in weights.items():
        scale = {"w_in": s.w_in_scale, "w_re": s.w_rec_scale, "w_ou": s.w_out_scale}[name[:4]]
        if scipy.sparse.issparse(w):  # by how many entries lead to a neuron, on average
            w.data[:] = rng.standard_normal(w.nnz) * (scale / np.sqrt(max(w.nnz / w.shape[0], 1.0)))
            continue
        w[:] = rng.standard_normal(w.shape) * (scale / np.sqrt(w.shape[1]))
        if name.startswith("w_rec"):
            np.fill_diagonal(w, 0)
    for b in feedback.values():
        b[:] = rng.standard_normal(b.shape)
