"""The same network in NEST, of its own e-prop models: `eprop_iaf`, `eprop_readout` and `eprop_synapse`.

Like ours its synapses wait for a presynaptic spike, then learn from all ticks since the last one. Numbers are double
precision, feedback weights are fixed, and spikes travel for a tick.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from threefactor.arrays import Array
from threefactor.peers.work import DECAY, PEAK, TAU, System, Work

CUTOFF = 10.0 * TAU  # ticks after a spike that a synapse still learns from


class NestSystem(System):
    """Simulates a block of ticks at once, of which each is given the mean time."""

    name, package = "nest", "nest-simulator"
    window = 100

    def __init__(self, work: Work) -> None:
        os.environ.setdefault("PYNEST_QUIET", "1")
        import nest

        self.work, self._nest, n = work, nest, work.neurons
        nest.ResetKernel()
        nest.verbosity = nest.VerbosityLevel.ERROR
        nest.set(resolution=1.0, local_num_threads=1)
        common = {"E_L": 0.0, "V_m": 0.0, "tau_m": TAU, "eprop_isi_trace_cutoff": CUTOFF}
        # this capacity makes a spike raise the voltage by the weight
        lif = {"C_m": TAU * (1.0 - DECAY), "V_th": 1.0, "t_ref": 0.0, "c_reg": 0.0, "kappa": DECAY}
        self._spikes_in = nest.Create("spike_generator", work.inputs)
        self._rec = nest.Create("eprop_iaf", n, common | lif | {"surrogate_gradient_height": PEAK})
        self._out = nest.Create("eprop_readout", 2, common | {"C_m": TAU})
        self._targets, self._recorder = nest.Create("step_rate_generator", 2), nest.Create("spike_recorder")
        self._connect(work)

    def _connect(self, work: Work) -> None:
        nest, rec, out = self._nest, self._rec, self._out
        inputs = nest.Create("parrot_neuron", work.inputs)
        window = nest.Create("step_rate_generator", params={"amplitude_times": [1.0], "amplitude_values": [1.0]})
        # plain descent may sum the gradients of the ticks since the last spike first, which is faster
        descent = {"optimizer": "gradient_descent", "eta": work.learning_rate, "optimize_each_step": False}
        nest.SetDefaults("eprop_synapse", {"optimizer": descent})
        nest.Connect(self._spikes_in, inputs, "one_to_one")
        dense = {"rule": "all_to_all", "allow_autapses": False}
        for source, target in ((inputs, rec), (rec, rec), (rec, out)):
            nest.Connect(source, target, dense, {"synapse_model": "eprop_synapse"})
        self._synapses = {
            "w_in": nest.GetConnections(inputs, rec), "w_rec": nest.GetConnections(rec, rec, "eprop_synapse"),
            "w_out": nest.GetConnections(rec, out),
        }  # fmt: skip
        first = {"w_in": inputs[0], "w_rec": rec[0], "w_out": rec[0]}
        self._places = {}
        for name, synapses in self._synapses.items():
            post, pre = np.array(synapses.target), np.array(synapses.source)
            to = out if name == "w_out" else rec
            place = post - to[0].global_id, pre - first[name].global_id
            self._places[name], synapses.weight = place, work.weights[name][place]
        feedback = {"synapse_model": "eprop_learning_signal_connection", "weight": work.weights["w_out"].T}
        nest.Connect(out, rec, "all_to_all", feedback)
        for source, rule, port in ((window, "all_to_all", 1), (self._targets, "one_to_one", 2)):
            nest.Connect(source, out, rule, {"synapse_model": "rate_connection_delayed", "receptor_type": port})
        nest.Connect(rec, self._recorder)

    def block(self, inputs: Array, targets: Array, spent: Array) -> float:
        """Hand over the inputs, simulate, and share the time among the ticks."""
        nest, ticks = self._nest, len(inputs)
        times = nest.biological_time + 1.0 + np.arange(ticks)
        for generator, row in zip(self._spikes_in, inputs.T, strict=True):
            generator.spike_times = times[row > 0.0]
        for generator, row in zip(self._targets, targets.T, strict=True):
            generator.set(amplitude_times=times, amplitude_values=row.astype(float))
        self._recorder.n_events = 0
        start = time.perf_counter_ns()
        nest.Simulate(float(ticks))
        spent[:] = (time.perf_counter_ns() - start) / ticks
        return float(self._recorder.n_events / (self.work.neurons * ticks))

    def weights(self) -> dict[str, Array]:
        """Present weights."""
        found: dict[str, Any] = {name: np.zeros_like(w) for name, w in self.work.weights.items()}
        for name, synapses in self._synapses.items():
            found[name][self._places[name]] = synapses.weight
        return found

    def state_bytes(self) -> int:
        """Neurons and synapses as NEST gives their sizes; without the histories that they keep for each other."""
        counts = {"eprop_iaf": len(self._rec), "eprop_readout": len(self._out)}
        nodes = sum(self._nest.GetDefaults(model)["elementsize"] * count for model, count in counts.items())
        return int(nodes + self._nest.GetDefaults("eprop_synapse")["sizeof"] * sum(map(len, self._synapses.values())))
