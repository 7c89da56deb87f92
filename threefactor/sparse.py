"""Sparse connectivity: from masks to rows of entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse

from threefactor.settings import NetworkSettings


def compressed(s: NetworkSettings, masks: Mapping[str, Any]) -> dict[tuple[int, int], Any]:
    """Masks [post, pre] as columns: for each presynaptic neuron the entries that lead away from it, sorted.

    Returns
    -------
    dict
        By block and 1 for a recurrent matrix: `csc_array` whose `indptr` and `indices` the network keeps.

    Raises
    ------
    ValueError
        An unknown name, another shape, entries that are not 1, a neuron that leads to itself, or more neurons than the
        network's precision can count.
    """
    sizes = {}
    for block, n in enumerate(s.n_hidden):
        tail = f"_{block}" if block else ""
        sizes["w_in" + tail] = (block, 0), (n, (s.n_in, *s.n_hidden)[block] + int(s.bias))
        if s.recurrent:
            sizes["w_rec" + tail] = (block, 1), (n, n)
    found = {}
    for name, mask in masks.items():
        if name not in sizes:
            raise ValueError(f"sparse mask {name!r}; this network can have them for {', '.join(sizes)}.")
        key, shape = sizes[name]
        if mask.shape != shape:
            raise ValueError(f"sparse mask {name!r} has shape {mask.shape}; it must be {shape}.")
        if not np.isin(scipy.sparse.coo_array(mask).data, (0, 1)).all():
            raise ValueError(f"sparse mask {name!r} must hold ones alone; it names entries, not weights.")
        columns = scipy.sparse.csc_array(mask, dtype=np.int64, copy=True)
        columns.sum_duplicates()  # what is named twice is one entry
        columns.eliminate_zeros()
        if key[1] and columns.diagonal().any():
            raise ValueError(f"sparse mask {name!r} connects neurons to themselves; clear its diagonal.")
        if columns.nnz == 0:
            raise ValueError(f"sparse mask {name!r} has no entry; connect something.")
        if shape[0] > 1 / np.finfo(s.dtype).eps:
            raise ValueError(f"a layer of {shape[0]} neurons is beyond what {s.dtype} counts; take dtype='float64'.")
        found[key] = columns
    return found
