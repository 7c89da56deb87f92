"""Sparse connectivity: from masks to rows of entries, and rows that wait as those of `deferral` do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse

from threefactor import deferred_tags as td
from threefactor._jit import disjoint
from threefactor.arrays import Array, Ints
from threefactor.deferral import D_A, E_A, HORIZON, A, B, C, D, P, ticks_to_next
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


@disjoint
def bring_sparse_up(
    x: Array, ebar: Array, eps_a: Array, targets: Array, starts: Ints, age: Array, base_zbar: Array, due: Array,
    composites: Array, adaptive: Array, kappa_powers: Array, alpha_powers: Array, slot: int, lif: int,
) -> None:  # fmt: skip
    """As `bring_up`, for the entries of a sparse matrix, row by row; entry k leads to neuron `targets[k]`."""
    kinds, more = composites.shape[0] // HORIZON, adaptive.shape[0] // HORIZON
    for listed in range(int(due[age.size])):
        i = int(due[listed])
        waiting, zbar = int(age[i]), base_zbar[i]
        base = (slot - waiting) % HORIZON
        while waiting > 0:
            ticks = ticks_to_next(base, waiting, slot)
            decay, of_all, of_adaptive = kappa_powers[ticks], kinds * base, more * base
            for k in range(starts[i], starts[i + 1]):
                j, trace = int(targets[k]), ebar[k]
                change = composites[of_all + C, j] * trace + zbar * composites[of_all + D, j]
                trace = decay * trace + zbar * composites[of_all + P, j]
                if j >= lif:
                    a, m = eps_a[k], j - lif
                    change += a * adaptive[of_adaptive + D_A, m]
                    trace += a * adaptive[of_adaptive + E_A, m]
                    eps_a[k] = adaptive[of_adaptive + A, m] * a + zbar * adaptive[of_adaptive + B, m]
                x[k] += change
                ebar[k] = trace
            zbar = alpha_powers[ticks] * zbar
            waiting -= ticks
            base = (base + ticks) % HORIZON
        age[i] = 0


@disjoint
def bring_sparse_tags_up(
    w: Array, tags: Array, ebar: Array, eps_a: Array, targets: Array, starts: Ints, age: Array, base_zbar: Array,
    due: Array, composites: Array, adaptive: Array, numbers: Array, kappa_powers: Array, alpha_powers: Array, slot: int,
    lif: int, is_open: bool,
) -> None:  # fmt: skip
    """As `deferred_tags.bring_tags_up`, for the entries of a sparse matrix."""
    for listed in range(int(due[age.size])):
        i = int(due[listed])
        waiting, zbar = int(age[i]), base_zbar[i]
        base = (slot - waiting) % HORIZON
        owes = td.owes_update(base, waiting, slot, is_open)
        while waiting > 0:
            ticks = ticks_to_next(base, waiting, slot)
            first, of_adaptive = td.KINDS * base, td.KINDS_A * base
            decay, keep, a = kappa_powers[ticks], numbers[td.KEPT, base], numbers[td.A, base]
            for k in range(starts[i], starts[i + 1]):
                j, trace, tag = int(targets[k]), ebar[k], tags[k]
                change = a * tag + composites[first + td.B, j] * trace + zbar * composites[first + td.G, j]
                tag = keep * tag + composites[first + td.U, j] * trace + zbar * composites[first + td.V, j]
                trace = decay * trace + zbar * composites[first + td.P, j]
                if j >= lif:
                    a_0, m = eps_a[k], j - lif
                    change += a_0 * adaptive[of_adaptive + td.Y, m]
                    tag += a_0 * adaptive[of_adaptive + td.X, m]
                    trace += a_0 * adaptive[of_adaptive + td.E_A, m]
                    eps_a[k] = adaptive[of_adaptive + td.A_A, m] * a_0 + zbar * adaptive[of_adaptive + td.B_A, m]
                w[k] += change
                tags[k], ebar[k] = tag, trace
            zbar = alpha_powers[ticks] * zbar
            waiting -= ticks
            base = (base + ticks) % HORIZON
        if owes:
            for k in range(starts[i], starts[i + 1]):
                w[k] += numbers[td.A, slot] * tags[k]
        age[i] = 0


@disjoint
def gather_sparse(current: Array, w: Array, targets: Array, starts: Ints, pre: Array, due: Array) -> None:
    """As `gather_listed`, for a sparse matrix."""
    for listed in range(int(due[starts.size - 1])):
        i = int(due[listed])
        for k in range(starts[i], starts[i + 1]):
            current[int(targets[k])] += pre[i] * w[k]
