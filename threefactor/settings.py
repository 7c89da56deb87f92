"""Every number and switch of a `Network`, in one checked, frozen record."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from threefactor.surrogates import SURROGATES

Positive = Annotated[float, Meta(gt=0.0)]
NonNegative = Annotated[float, Meta(ge=0.0)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Gain = Literal["one_minus_decay", "unit"]

# infinity switches these off, or means "over the whole sequence"
MAY_BE_INFINITE = {"clip_value", "clip_norm", "weight_min", "weight_max", "rate_tau", "rate_trace_tau"}


def check_finite(settings: msgspec.Struct, but: Collection[str] = ()) -> None:
    """Refuse NaN anywhere, and infinity but in the named fields."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, float) and not math.isfinite(value) and (math.isnan(value) or name not in but):
            raise ValueError(f"{name} is {value}; it must be finite.")


S = TypeVar("S", bound=msgspec.Struct)


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a network of leaky integrate-and-fire neurons that learns by e-prop.

    Times are in ms, rates in Hz, voltages in the unit of `threshold`. All layers share these numbers.

    Parameters
    ----------
    n_in, n_out : int
        Inputs and readouts.
    n_hidden : tuple of int
        Neurons of each hidden layer, from the input to the readout.
    n_adaptive : tuple of int
        How many of them, the last ones of each layer, adapt their threshold (ALIF). Empty: none.
    recurrent : bool
        Whether each hidden layer is connected to itself (without autapses).
    bias : bool
        Adds to the input and to each layer one unit that is always 1.
    dt, tau_m, tau_adaptation, tau_out : float
        Tick and time constants of membrane, adaptation and readout [ms].
    tau_adaptation_longest : float or None
        Time constants of the adaptive neurons of a layer are spread geometrically from `tau_adaptation` to this one;
        None: they are alike.
    tau_trace : float or None
        Time constant of the filtered eligibility trace [ms]; None: `tau_out`.
    threshold, adaptation_strength : float
        Base threshold v_th, and beta: how far one spike raises the threshold.
    refractory : float
        Refractory period [ms].
    reset : {"next_tick", "same_tick"}
        Whether v_th is subtracted undecayed a tick after the spike (Bellec et al. 2020) or at once.
    current_gain, readout_gain, trace_gain : {"one_minus_decay", "unit"}
        Factor in front of what the membrane, the readout and the filtered trace integrate.
    normalise_current : bool
        Shift and scale each layer's input current to mean 0 and variance 1 over the layer, each tick.
    surrogate, slope, height, normalisation
        See `threefactor.surrogates`. The slope is in 1/voltage and may be changed at run time.
    exact_reset : bool
        Carry the eligibility through the reset: exact for a feed-forward layer, one more array.
    readout : {"linear", "softmax"}
        What `step` returns: the leaky readout or its softmax.
    feedback : {"symmetric", "random", "adaptive"}
        Weights that broadcast the error: the readout's own, fixed random, or random and learning like the readout's.
    credit : {"layerwise", "direct"}
        Whether layers below the last one get their learning signal from the layer above, through its surrogate and
        weights, or straight from the error through feedback weights of their own.
    freeze_hidden : bool
        Only the readout learns: the control of every learning claim.
    optimiser : {"sgd", "adam", "obgd", "intentional"}
        Plain step, Adam, the overshooting-bounded step of Elsayed et al. 2024, or the intentional one of Sharifnassab
        et al. 2026 (arXiv:2604.19033), made for TD errors; this one takes no regularisers.
    learning_rate, beta_1, beta_2, epsilon : float
        Of the optimiser; `epsilon` stands outside Adam's bias correction. For the intentional step the learning rate is
        the share of the error by which an update is to change the prediction, and there is no `beta_1`.
    overshoot : float
        kappa of the overshooting bound.
    norm_decay : float
        Of the running mean of the gradient's norm that the intentional step divides by; 1: of all ticks alike.
    tag_decay : float
        Decay of the gradient's tag from tick to tick: discount x trace decay for a TD error; 1 sums.
    clip_value, clip_norm : float
        Bound of each gradient entry, and of the norm of the whole gradient.
    weight_min, weight_max : float
        Bounds of the weights.
    weight_decay, feedback_decay : float
        Share of weights (of adaptive feedback weights) lost at an update, per unit of learning rate.
    rate_strength, rate_target, rate_tau : float
        Firing-rate homeostasis: strength, target [Hz], time constant of the running rate [ms]. An infinite `rate_tau`
        takes the rate over the whole sequence, and acts at its end.
    rate_trace_tau : float
        Time constant of the filter of the eligibility trace that homeostasis uses [ms]; 0: unfiltered.
    spike_l1, voltage_l2 : float
        Cost of a spike, and half the cost of the squared membrane voltage.
    w_in_scale, w_rec_scale, w_out_scale : float
        Initial weights are normal with this over sqrt(presynaptic neurons) as deviation.
    n_copies : int
        Copies of neurons, traces and tags that share the weights; a kernel is told by the table which one it is to work
        on, see `threefactor.layout`. `step` and the other methods work on the first.
    seed : int
        Of initial weights and random feedback.
    dtype : {"float32", "float64"}
        Precision of everything.
    """

    n_in: Annotated[int, Meta(ge=1)]
    n_hidden: Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1)]
    n_out: Annotated[int, Meta(ge=1)]
    n_adaptive: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    recurrent: bool = True
    bias: bool = False
    dt: Positive = 1.0
    tau_m: Positive = 20.0
    tau_adaptation: Positive = 200.0
    tau_adaptation_longest: Positive | None = None
    tau_out: Positive = 20.0
    tau_trace: Positive | None = None
    threshold: Positive = 1.0
    adaptation_strength: NonNegative = 0.1
    refractory: NonNegative = 0.0
    reset: Literal["next_tick", "same_tick"] = "next_tick"
    current_gain: Gain = "unit"
    readout_gain: Gain = "one_minus_decay"
    trace_gain: Gain = "one_minus_decay"
    normalise_current: bool = False
    surrogate: str = "piecewise_linear"
    slope: Positive = 1.0
    height: Positive = 0.3
    normalisation: Literal["peak", "area"] = "peak"
    exact_reset: bool = False
    readout: Literal["linear", "softmax"] = "linear"
    feedback: Literal["symmetric", "random", "adaptive"] = "symmetric"
    credit: Literal["layerwise", "direct"] = "layerwise"
    freeze_hidden: bool = False
    optimiser: Literal["sgd", "adam", "obgd", "intentional"] = "sgd"
    learning_rate: NonNegative = 1e-3
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: Positive = 1e-8
    overshoot: Positive = 2.0
    norm_decay: Fraction = 0.999
    tag_decay: Fraction = 0.0
    clip_value: Positive = math.inf
    clip_norm: Positive = math.inf
    weight_min: float = -math.inf
    weight_max: float = math.inf
    weight_decay: NonNegative = 0.0
    feedback_decay: NonNegative = 0.0
    rate_strength: NonNegative = 0.0
    rate_target: NonNegative = 10.0
    rate_tau: Positive = 1000.0
    rate_trace_tau: NonNegative = 0.0
    spike_l1: NonNegative = 0.0
    voltage_l2: NonNegative = 0.0
    w_in_scale: NonNegative = 1.0
    w_rec_scale: NonNegative = 0.5
    w_out_scale: NonNegative = 1.0
    n_copies: Annotated[int, Meta(ge=1)] = 1
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        if self.surrogate not in SURROGATES:
            raise ValueError(f"surrogate is {self.surrogate!r}; choose one of {', '.join(SURROGATES)}.")
        if self.n_adaptive and len(self.n_adaptive) != len(self.n_hidden):
            raise ValueError(
                f"n_adaptive names {len(self.n_adaptive)} layers, n_hidden {len(self.n_hidden)}; give a number each."
            )
        for adaptive, hidden in zip(self.n_adaptive, self.n_hidden, strict=False):
            if adaptive > hidden:
                raise ValueError(
                    f"n_adaptive asks for {adaptive} adaptive neurons in a layer of {hidden}; ask for fewer."
                )
        if self.tau_adaptation_longest is not None and self.tau_adaptation_longest < self.tau_adaptation:
            raise ValueError(
                f"tau_adaptation_longest is {self.tau_adaptation_longest}, tau_adaptation {self.tau_adaptation}; "
                "give one that is longer, or None."
            )
        if self.feedback == "symmetric" and self.credit == "direct" and len(self.n_hidden) > 1:
            raise ValueError(
                "credit is 'direct' with feedback 'symmetric', but lower layers have no readout weights to mirror; "
                "take feedback='random' or 'adaptive', or credit='layerwise'."
            )
        if not self.weight_min < self.weight_max:
            raise ValueError(f"weight_min {self.weight_min} must be below weight_max {self.weight_max}.")
        check_finite(self, MAY_BE_INFINITE)
        if self.optimiser == "intentional":
            self._check_intentional()

    def _check_intentional(self) -> None:
        """Refuse what would divide by zero.

        What a silent network's regularisers gather is all its gradient, and the step that suits no gradient is huge.
        """
        for name in ("rate_strength", "spike_l1", "voltage_l2"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} is {getattr(self, name)} with optimiser 'intentional', which takes no regularisers; "
                    f"set {name}=0 or take another optimiser."
                )
        if np.dtype(self.dtype).type(self.beta_2) == 1.0:
            raise ValueError(f"beta_2 is {self.beta_2}; optimiser 'intentional' needs it below 1 in {self.dtype}.")


def _native(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def build(kind: type[S], **values: Any) -> S:
    """Make a settings record from keywords, checking names, types and ranges.

    Raises
    ------
    ValueError
        An unknown name, a wrong type or a value out of range; says which and what is known.
    """
    known = kind.__struct_fields__
    for name in values:
        if name not in known:
            raise ValueError(f"unknown setting {name!r}; {kind.__name__} knows {', '.join(sorted(known))}.")
    try:
        return msgspec.convert({name: _native(value) for name, value in values.items()}, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{kind.__name__}: {error}") from None
