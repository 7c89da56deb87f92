"""A multilayer perceptron in compiled code that learns from eligibility traces by overshooting-bounded steps.

Two hidden layers with layer normalisation and LeakyReLU, sparse weights at first. Source: Elsayed, Vasan, Mahmood 2024,
arXiv:2410.14606. Errors are those of a loss: descent along the traces lowers what the errors are the gradient of.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from threefactor._jit import grid, kernel, window
from threefactor.arrays import Array, Ints
from threefactor.forward import fill
from threefactor.neurons import gather, normalise

LAYERS, LAST = 3, 2
SPARSITY = 0.9  # share of a unit's weights that start at zero
LEAK, TINY = 0.01, 1e-5  # slope of LeakyReLU below zero; what layer normalisation adds to the variance


class Perceptron(NamedTuple):
    """A network: all its numbers in a row, and where in it the parts of each layer start."""

    state: Array
    table: Ints  #: (LAYERS, 8)


class Layer(NamedTuple):
    """The parts of a layer, as views."""

    weights: Array  #: (inputs + 1, units), biases in the last row
    traces: Array  #: (inputs + 1, units)
    inputs: Array  #: (inputs + 1,), the last of them 1
    outputs: Array  #: (units,), weighted sums, in a hidden layer standardised and not yet rectified
    errors: Array  #: (units,), with respect to the weighted sums
    sizes: Array  #: (units,), summed size of a unit's traces
    scale: Array  #: (1,), 1 / deviation of the weighted sums of a hidden layer


def layer_of(net: Perceptron, k: int) -> Layer:
    """Layer k, from 0."""
    state, at = net.state, net.table[k]
    units = at[4] - at[3]
    return Layer(
        grid(state, at[0], at[1], units), grid(state, at[1], at[2], units), window(state, at[2], at[3]),
        window(state, at[3], at[4]), window(state, at[4], at[5]), window(state, at[5], at[6]),
        window(state, at[6], at[7]),
    )  # fmt: skip


cut = kernel(layer_of)  # for kernels alone: what it returns does not keep the network alive


def perceptron(rng: np.random.Generator, n: tuple[int, ...], least_inputs: int, dtype: npt.DTypeLike) -> Perceptron:
    """A network of n[0] inputs, and layers of n[1] to n[3] units; its weights are zero or within +-1 / sqrt(inputs)."""
    lengths = [(0, *2 * ((m + 1) * units,), m + 1, *3 * (units,), 1) for m, units in pairwise(n)]
    table = np.cumsum(lengths, dtype=np.int64).reshape(LAYERS, -1)
    net = Perceptron(np.zeros(table[-1, -1], dtype), table)
    for k, m in enumerate(n[:-1]):
        layer, kept = layer_of(net, k), max(m - math.ceil(SPARSITY * m), least_inputs)
        layer.inputs[-1] = 1
        for j in range(n[k + 1]):
            layer.weights[rng.permutation(m)[:kept], j] = rng.uniform(-1.0, 1.0, kept) / math.sqrt(m)
    return net


@kernel
def forward(net: Perceptron) -> None:
    """From the inputs of the first layer to the outputs of the last."""
    for k in range(LAYERS):
        layer = cut(net, k)
        out, leak = layer.outputs, layer.outputs.dtype.type(LEAK)
        fill(out, 0.0)
        gather(out, layer.weights, layer.inputs)
        if k < LAST:
            layer.scale[0] = normalise(out, TINY)
            above = cut(net, k + 1).inputs
            for j in range(out.size):
                above[j] = max(out[j], leak * out[j])


@kernel
def forget(net: Perceptron) -> None:
    """Clear the traces."""
    for k in range(LAYERS):
        z = cut(net, k).traces
        for i in range(z.shape[0]):
            for j in range(z.shape[1]):
                z[i, j] = 0


@kernel
def backward(error: Array, out: Array, scale: float, w: Array, above: Array) -> None:
    """Error of a hidden layer from that of the layer above it, through weights, rectifier and normalisation."""
    last, mean, along = out.size - 1, 0.0, 0.0
    for i in range(0, out.size, 4):  # four sums at once, as each has to wait for its own last addition
        k, m, n = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        at_i = at_k = at_m = at_n = out.dtype.type(0)
        for j in range(above.size):
            at_i += w[i, j] * above[j]
            at_k += w[k, j] * above[j]
            at_m += w[m, j] * above[j]
            at_n += w[n, j] * above[j]
        error[i], error[k], error[m], error[n] = at_i, at_k, at_m, at_n
    for i in range(out.size):
        error[i] *= out.dtype.type(1.0 if out[i] > 0 else LEAK)
        mean += error[i] / out.size
        along += error[i] * out[i] / out.size
    for i in range(out.size):
        error[i] = scale * (error[i] - mean - along * out[i])


@kernel
def trace(net: Perceptron, decay: float) -> None:
    """Trace <- decay trace + gradient, given the errors of the last layer; `decay` is gamma lambda."""
    for k in range(LAST, -1, -1):
        w, z, x, _, error, size, _ = cut(net, k)
        kept = z.dtype.type(decay)
        fill(size, 0.0)
        for i in range(x.size):
            x_i = x[i]
            for j in range(error.size):
                z[i, j] = kept * z[i, j] + x_i * error[j]
                size[j] += abs(z[i, j])
        if k > 0:
            below = cut(net, k - 1)
            backward(below.errors, below.outputs, below.scale[0], w, error)


@kernel
def update(net: Perceptron, delta: float, overshoot: float) -> None:
    """Overshooting-bounded step at rate 1: w <- w - min(1, 1 / (kappa max(|delta|, 1) |z|_1)) delta z."""
    total = 0.0
    for k in range(LAYERS):
        size = cut(net, k).sizes
        for j in range(size.size):
            total += size[j]
    step_size = delta / max(1.0, overshoot * max(abs(delta), 1.0) * total)
    for k in range(LAYERS):
        w, z, factor = cut(net, k).weights, cut(net, k).traces, net.state.dtype.type(step_size)
        for i in range(w.shape[0]):
            for j in range(w.shape[1]):
                w[i, j] -= factor * z[i, j]
