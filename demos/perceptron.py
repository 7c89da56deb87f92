"""A multilayer perceptron in compiled code that learns from eligibility traces by overshooting-bounded steps.

Two hidden layers with layer normalisation and LeakyReLU, sparse weights at first. Source: Elsayed, Vasan, Mahmood 2024,
arXiv:2410.14606. Errors are those of a loss: descent along `traces` lowers what `errors` is the gradient of.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from threefactor._jit import kernel
from threefactor.arrays import Array
from threefactor.forward import fill
from threefactor.neurons import gather, normalise

LAYERS, LAST = 3, 2
SPARSITY = 0.9  # share of a unit's weights that start at zero
LEAK, TINY = 0.01, 1e-5  # slope of LeakyReLU below zero; what layer normalisation adds to the variance


class Perceptron(NamedTuple):
    """Arrays of a network with two hidden layers, an entry of each tuple for a layer; biases are the last row."""

    weights: tuple[Array, ...]  #: (inputs + 1, units)
    traces: tuple[Array, ...]  #: (inputs + 1, units), of the errors
    inputs: tuple[Array, ...]  #: (inputs + 1,), the last of them 1
    outputs: tuple[Array, ...]  #: (units,), weighted sums; in a hidden layer standardised, and not yet rectified
    errors: tuple[Array, ...]  #: (units,), with respect to the weighted sums
    sizes: tuple[Array, ...]  #: (units,), summed size of a unit's traces
    scales: Array  #: (2,), 1 / deviation of the weighted sums of a hidden layer


def perceptron(rng: np.random.Generator, n: tuple[int, ...], least_inputs: int, dtype: npt.DTypeLike) -> Perceptron:
    """A network of n[0] inputs, and layers of n[1] to n[3] units; its weights are zero or within +-1 / sqrt(inputs)."""
    shapes = [(inputs + 1, units) for inputs, units in pairwise(n)]
    weights, traces = (tuple(np.zeros(shape, dtype) for shape in shapes) for _ in range(2))
    for w in weights:
        inputs = w.shape[0] - 1
        kept = min(max(inputs - math.ceil(SPARSITY * inputs), least_inputs), inputs)
        for j in range(w.shape[1]):
            w[rng.permutation(inputs)[:kept], j] = rng.uniform(-1.0, 1.0, kept) / math.sqrt(inputs)
    outputs, errors, sizes = (tuple(np.zeros(units, dtype) for units in n[1:]) for _ in range(3))
    ones = tuple(np.ones(rows, dtype) for rows, _ in shapes)
    return Perceptron(weights, traces, ones, outputs, errors, sizes, np.zeros(LAST, dtype))


@kernel
def forward(net: Perceptron) -> None:
    """From inputs[0] to outputs[LAST]."""
    for layer in range(LAYERS):
        out = net.outputs[layer]
        fill(out, 0.0)
        gather(out, net.weights[layer], net.inputs[layer])
        if layer < LAST:
            net.scales[layer] = normalise(out, TINY)
            for j in range(out.size):
                net.inputs[layer + 1][j] = max(out[j], out.dtype.type(LEAK) * out[j])


@kernel
def forget(net: Perceptron) -> None:
    """Clear the traces."""
    for layer in range(LAYERS):
        for i in range(net.traces[layer].shape[0]):
            fill(net.traces[layer][i], 0.0)


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
    """Trace <- decay trace + gradient, given errors[LAST]; `decay` is gamma lambda."""
    for layer in range(LAST, -1, -1):
        z, x, error, size = net.traces[layer], net.inputs[layer], net.errors[layer], net.sizes[layer]
        kept = z.dtype.type(decay)
        fill(size, 0.0)
        for i in range(x.size):
            x_i = x[i]
            for j in range(error.size):
                z[i, j] = kept * z[i, j] + x_i * error[j]
                size[j] += abs(z[i, j])
        if layer > 0:
            backward(net.errors[layer - 1], net.outputs[layer - 1], net.scales[layer - 1], net.weights[layer], error)


@kernel
def update(net: Perceptron, delta: float, overshoot: float) -> None:
    """Overshooting-bounded step at rate 1: w <- w - min(1, 1 / (kappa max(|delta|, 1) |z|_1)) delta z."""
    size = 0.0
    for layer in range(LAYERS):
        for j in range(net.sizes[layer].size):
            size += net.sizes[layer][j]
    step_size = delta / max(1.0, overshoot * max(abs(delta), 1.0) * size)
    for layer in range(LAYERS):
        w, z = net.weights[layer], net.traces[layer]
        factor = w.dtype.type(step_size)
        for i in range(w.shape[0]):
            for j in range(w.shape[1]):
                w[i, j] -= factor * z[i, j]
