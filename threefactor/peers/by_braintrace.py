"""The same network in BrainTrace, by two of its rules for learning online."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from threefactor.arrays import Array
from threefactor.peers.work import DECAY, PEAK, System, Work, split


def network(work: Work) -> Any:
    """Recurrent LIF neurons and leaky readouts as a BrainTrace module; update gives the readout."""
    import brainstate
    import braintrace
    import jax
    import jax.numpy as jnp

    spike = jax.custom_jvp(lambda v: (v >= 1.0).astype(v.dtype))
    spike.defjvps(lambda dv, z, v: PEAK * jnp.maximum(0.0, 1.0 - jnp.abs(v - 1.0)) * dv)

    class Net(brainstate.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.w = brainstate.ParamState(jnp.array(work.joined.T))
            self.w_out = brainstate.ParamState(jnp.array(work.weights["w_out"].T))

        def init_state(self, batch_size: int | None = None, **_: Any) -> None:
            self.v = brainstate.HiddenState(jnp.zeros(work.neurons))
            self.y = brainstate.HiddenState(jnp.zeros(2))

        def update(self, x: Any) -> Any:
            z = spike(self.v.value)
            current = braintrace.matmul(jnp.concatenate([x, z]), self.w.value)
            self.v.value = DECAY * self.v.value + current - jax.lax.stop_gradient(z)
            drive = braintrace.matmul(spike(self.v.value), self.w_out.value)
            self.y.value = DECAY * self.y.value + (1.0 - DECAY) * drive
            return self.y.value

    return Net()


class BrainTraceSystem(System):
    """e-prop as BrainTrace derives it from the network, compiled in one function that donates all its states."""

    name, package, rule, options = "braintrace", "braintrace", "EProp", {"kappa_filter_decay": DECAY}

    def __init__(self, work: Work) -> None:
        import brainstate
        import braintrace
        import jax
        import jax.numpy as jnp

        self.work, self._wait, rate = work, jax.block_until_ready, work.learning_rate
        self.net = net = network(work)
        learner = braintrace.compile(net, getattr(braintrace, self.rule), jnp.zeros(work.inputs), **self.options)
        parameters = net.states(brainstate.ParamState)
        diagonal = jnp.arange(work.neurons)

        def tick(x: Any, target: Any) -> Any:
            def loss() -> Any:
                return 0.5 * jnp.sum((learner(x) - target) ** 2)

            for key, slope in brainstate.transform.grad(loss, parameters)().items():
                parameters[key].value = parameters[key].value - rate * slope
            net.w.value = net.w.value.at[work.inputs + diagonal, diagonal].set(0.0)

        stateful = brainstate.transform.StatefulFunction(tick)
        example = jnp.zeros(work.inputs), jnp.zeros(2)
        stateful.make_jaxpr(*example)
        self.states = stateful.get_states(*example)
        self.values = [state.value for state in self.states]
        self._run = jax.jit(lambda values, x, target: stateful.jaxpr_call(values, x, target)[0], donate_argnums=0)

    def advance(self, x: Array, target: Array) -> None:
        """Take a tick and learn from it."""
        self.values = self._wait(self._run(self.values, x, target))

    def spikes(self) -> Array:
        """Which hidden neurons spiked in the last tick."""
        return np.asarray(self._value(self.net.v)) >= 1.0

    def weights(self) -> dict[str, Array]:
        """Present weights."""
        joined = np.asarray(self._value(self.net.w)).T
        return split(joined, self.work) | {"w_out": np.asarray(self._value(self.net.w_out)).T}

    def arrays(self) -> Iterable[Any]:
        """All states that a tick reads or writes: network, traces and what else the library keeps."""
        import jax

        leaves: list[Any] = jax.tree.leaves(self.values)
        return leaves

    def _value(self, wanted: Any) -> Any:
        return next(value for state, value in zip(self.states, self.values, strict=True) if state is wanted)


class FactorisedBrainTraceSystem(BrainTraceSystem):
    """BrainTrace's ES-D-RTRL: vectors for traces, one for each neuron and input instead of one for each synapse."""

    name, rule, options = "braintrace_es_d_rtrl", "ES_D_RTRL", {"decay_or_rank": DECAY}
