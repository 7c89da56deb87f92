"""Initial weights."""

from __future__ import annotations

import numpy as np

from threefactor.arrays import Array
from threefactor.settings import NetworkSettings


def draw_weights(weights: dict[str, Array], feedback: dict[str, Array], s: NetworkSettings) -> None:
    """Fill weights and feedback in place: normal, deviation = scale / sqrt(presynaptic neurons), no autapses."""
    rng = np.random.default_rng(s.seed)
    for name, w in weights.items():
        scale = {"w_in": s.w_in_scale, "w_re": s.w_rec_scale, "w_ou": s.w_out_scale}[name[:4]]
        w[:] = rng.standard_normal(w.shape) * (scale / np.sqrt(w.shape[1]))
        if name.startswith("w_rec"):
            np.fill_diagonal(w, 0)
    for b in feedback.values():
        b[:] = rng.standard_normal(b.shape)
