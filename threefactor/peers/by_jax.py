"""The work in JAX: one compiled function whose state is donated, so that it is updated in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from threefactor.arrays import Array
from threefactor.peers.work import DECAY, PEAK, System, Work, split


class JaxSystem(System):
    """Whole matrices every tick, fused by XLA; the equations are those of `threefactor.peers.work`."""

    name, package = "jax", "jax"

    def __init__(self, work: Work) -> None:
        import jax
        import jax.numpy as jnp

        self.work, n, rate = work, work.neurons, work.learning_rate
        width = work.inputs + n
        plastic = jnp.arange(width)[None, :] != work.inputs + jnp.arange(n)[:, None]

        def run(state: dict[str, Any], x: Any, target: Any) -> dict[str, Any]:
            w, w_out, z = state["w"], state["w_out"], state["z"]
            pre = jnp.concatenate([x, z])
            v = DECAY * state["v"] + w @ pre - z
            psi = PEAK * jnp.maximum(0.0, 1.0 - jnp.abs(v - 1.0))
            z = (v >= 1.0).astype(jnp.float32)
            y = DECAY * state["y"] + (1.0 - DECAY) * (w_out @ z)
            error = y - target
            zbar = DECAY * state["zbar"] + pre
            zbar_out = DECAY * state["zbar_out"] + (1.0 - DECAY) * z
            ebar = DECAY * state["ebar"] + ((1.0 - DECAY) * psi)[:, None] * zbar
            step = (rate * (error @ w_out))[:, None] * ebar
            return {
                "w": w - jnp.where(plastic, step, 0.0), "w_out": w_out - rate * error[:, None] * zbar_out, "z": z,
                "v": v, "y": y, "zbar": zbar, "zbar_out": zbar_out, "ebar": ebar,
            }  # fmt: skip

        zeros = {"z": n, "v": n, "y": 2, "zbar": width, "zbar_out": n, "ebar": (n, width)}
        self.state = {name: jnp.zeros(shape, jnp.float32) for name, shape in zeros.items()}
        self.state |= {"w": jnp.array(work.joined), "w_out": jnp.array(work.weights["w_out"])}
        self._run, self._wait = jax.jit(run, donate_argnums=0), jax.block_until_ready

    def advance(self, x: Array, target: Array) -> None:
        """Take a tick and learn from it."""
        self.state = self._wait(self._run(self.state, x, target))

    def spikes(self) -> Array:
        """Which hidden neurons spiked in the last tick."""
        return np.asarray(self.state["z"])

    def weights(self) -> dict[str, Array]:
        """Present weights."""
        return split(self.state["w"], self.work) | {"w_out": np.asarray(self.state["w_out"])}

    def arrays(self) -> Iterable[Any]:
        """All arrays that are kept from tick to tick."""
        return self.state.values()
