"""TD3 with a spiking actor: the published baseline that keeps a replay memory and backpropagates through time.

Van den Berghe, Stroobants, Reddi, de Croon 2025, arXiv:2510.24461, on the TD3 of stable-baselines3 (Fujimoto, van Hoof,
Meger 2018, arXiv:1802.09477). Needs the extra `replay`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from controllers.spaces import flat_size
from threefactor import ScheduleSettings, SlopeSchedule
from threefactor.settings import build

MISSING: ImportError | None = None
try:
    import torch
    from stable_baselines3 import TD3
    from stable_baselines3.common.callbacks import BaseCallback, CallbackList
    from stable_baselines3.common.noise import NormalActionNoise
    from stable_baselines3.common.preprocessing import get_action_dim
    from stable_baselines3.td3.policies import Actor, TD3Policy
    from torch.autograd import Function
    from torch.nn import Module
except ImportError as error:  # the file can be imported all the same, and says what is missing when it is used
    MISSING = error
    TD3 = BaseCallback = Actor = TD3Policy = Function = Module = object  # type: ignore[assignment, misc]


class Lif(Function):
    """Leaky integrate-and-fire neurons over all ticks of a window, from rest, (ticks, batch, neurons)::

        v_t = decay v_{t-1} + I_t - z_{t-1} ;  z_t = 1 if v_t >= 1
        dI_t = psi_t dz_t + decay dI_{t+1} ;  psi = 1 / (1 + k |v - 1|)^2, whose peak is 1 for every slope k

    The reset is not differentiated.
    """

    @staticmethod
    def forward(ctx: Any, currents: torch.Tensor, slope: torch.Tensor, decay: float) -> torch.Tensor:
        """Spikes for input currents."""
        v, z = currents.clone(), torch.empty_like(currents)
        for t in range(len(v)):
            if t:
                v[t].add_(v[t - 1], alpha=decay).sub_(z[t - 1])
            torch.ge(v[t], 1.0, out=z[t])
        ctx.decay = decay
        ctx.save_for_backward(v, slope)
        return z

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Gradient with respect to the currents."""
        v, slope = ctx.saved_tensors
        g = grads[0] / (1.0 + slope * (v - 1.0).abs()) ** 2
        for t in range(len(g) - 2, -1, -1):
            g[t].add_(g[t + 1], alpha=ctx.decay)
        return g, None, None


class SpikingNet(Module):
    """Layers of LIF neurons that see a history frame by frame and start each time from rest; tanh of a leaky readout.

    Each frame is shown for `passes` ticks. With PyTorch's own initial weights the upper layers would be silent: here
    they are normal, of deviation 2 / sqrt(presynaptic neurons), and the biases 0. The buffer `slope` may be changed.
    """

    slope: torch.Tensor

    def __init__(
        self, n_in: int, hidden: Sequence[int], n_out: int, *, passes: int, slope: float, decay: float
    ) -> None:
        super().__init__()
        sizes = [n_in, *hidden]
        self.passes, self.decay = passes, decay
        self.layers = torch.nn.ModuleList(torch.nn.Linear(n, m) for n, m in zip(sizes, hidden, strict=False))
        self.readout = torch.nn.Linear(sizes[-1], n_out)
        self.register_buffer("slope", torch.tensor(float(slope)))
        for n, layer in zip(sizes, self.layers, strict=False):
            for parameter in layer.parameters():  # weights, and biases
                torch.nn.init.normal_(parameter, std=2.0 / n**0.5 * (parameter.ndim > 1))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Actions in [-1, 1], (batch, n_out), of `frames`, (batch, history, n_in), the newest last."""
        x = frames.transpose(0, 1)
        for place, layer in enumerate(self.layers):
            current = layer(x)
            current = current if place else current.repeat_interleave(self.passes, 0)
            x = Lif.apply(current, self.slope, self.decay)  # type: ignore[no-untyped-call]
        kept = self.decay ** torch.arange(len(x) - 1, -1, -1, dtype=x.dtype, device=x.device)
        return torch.tanh(self.readout(torch.einsum("t,tbi->bi", (1.0 - self.decay) * kept, x)))


class SpikingActor(Actor):
    """The actor of stable-baselines3 with a `SpikingNet` in the place of its layers."""

    mu: Any

    def __init__(self, *args: Any, neurons: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shape: tuple[int, ...] = self.observation_space.shape or ()
        self.mu = SpikingNet(self._shape[-1], self.net_arch, get_action_dim(self.action_space), **neurons)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Actions in [-1, 1] of stacked observations."""
        features = self.extract_features(obs, self.features_extractor)
        actions: torch.Tensor = self.mu(features.reshape(-1, *self._shape))
        return actions


class SpikingPolicy(TD3Policy):
    """Spiking actor; critics as ever, perceptrons on the stacked observations."""

    def __init__(self, *args: Any, neurons: dict[str, Any], **kwargs: Any) -> None:
        self._neurons = neurons
        super().__init__(*args, **kwargs)

    def make_actor(self, features_extractor: Any = None) -> SpikingActor:
        """Actor, or its slow copy."""
        given = self._update_features_extractor(self.actor_kwargs, features_extractor)
        return SpikingActor(**given, neurons=self._neurons).to(self.device)


class _FollowReturn(BaseCallback):
    """Hands the return of each finished episode to the schedule."""

    def _on_step(self) -> bool:
        model = self.model
        for info in self.locals["infos"]:
            if "episode" in info and isinstance(model, SpikingTD3):
                model.slope = model.schedule.update(float(info["episode"]["r"]))
        return True


class SpikingTD3(TD3):
    """TD3 whose slope follows a schedule, and which acts on single observations; see `spiking_td3`."""

    actor: SpikingActor
    schedule: SlopeSchedule
    _frames: deque[npt.NDArray[Any]] | None = None

    @property
    def slope(self) -> float:
        """Slope of the actor's surrogate; may be set at any time."""
        return float(self.actor.mu.slope)

    @slope.setter
    def slope(self, value: float) -> None:
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"slope is {value}; it must be positive and finite.")
        self.actor.mu.slope.fill_(value)

    def learn(self, total_timesteps: int, callback: Any = None, *args: Any, **kwargs: Any) -> SpikingTD3:
        """Learn as TD3 does, the slope following the returns of the episodes."""
        callbacks = callback if isinstance(callback, list) else [callback] if callback is not None else []
        return super().learn(total_timesteps, CallbackList([_FollowReturn(), *callbacks]), *args, **kwargs)

    def act(self, observation: npt.ArrayLike) -> npt.NDArray[Any]:
        """Greedy action for one observation, which joins the history since `reset`."""
        shape = self.observation_space.shape or ()
        x = np.array(observation, np.float32)
        if x.shape != shape[1:]:
            raise ValueError(f"observation has shape {x.shape}, this agent takes {shape[1:]}.")
        if self._frames is None:
            self._frames = deque([x] * shape[0], maxlen=shape[0])
        self._frames.append(x)
        return np.asarray(self.predict(np.stack(self._frames), deterministic=True)[0])

    def reset(self) -> None:
        """Forget the observations that `act` has seen."""
        self._frames = None


def spiking_td3(
    env: gym.Env[Any, Any],
    *,
    seed: int = 0,
    schedule: Mapping[str, Any] | None = None,
    slope: float = 2.0,
    hidden: Sequence[int] = (256, 128),
    history: int = 8,
    passes: int = 4,
    decay: float = 0.5,
    **td3_settings: Any,
) -> SpikingTD3:
    """TD3 for an environment, ready to `learn(total_timesteps)`.

    Parameters
    ----------
    env : gymnasium.Env
        With flat Box observations and Box actions with finite bounds.
    seed : int
        Of weights, replay, exploration and environment.
    schedule : mapping, optional
        Fields of `threefactor.ScheduleSettings` but `slope`; by default the slope stays.
    slope : float
        Slope of the surrogate at the start [1/voltage].
    hidden : sequence of int
        Neurons of the actor's layers. The critics have layers of 256 and 256.
    history, passes : int
        Newest observations that the actor sees, one after another, and ticks for each.
    decay : float
        What membranes and readout keep from tick to tick; decay ** passes of a frame is left after the next one.
    **td3_settings
        Of `stable_baselines3.TD3`. Other than there, normal noise with a deviation of .1 explores.

    Returns
    -------
    SpikingTD3
        Has `learn`, `predict`, `save` and `load` of stable-baselines3, and `act`, `reset` and `slope` of this package.

    Raises
    ------
    ImportError
        Without the extra `replay`.
    ValueError
        Other spaces, or a setting out of range.
    """
    if MISSING is not None:
        needs = "spiking_td3 needs PyTorch and stable-baselines3"
        raise ImportError(f'{needs} ({MISSING}); install them: pip install "threefactor[replay]".') from MISSING
    flat_size(env.observation_space)
    space = env.action_space
    if not isinstance(space, gym.spaces.Box):
        raise ValueError(f"action space is {space}; TD3 takes a Box with finite bounds.")
    if min(history, passes, *hidden) < 1:
        raise ValueError(f"history {history}, passes {passes} and hidden {tuple(hidden)} must be at least 1.")
    if not 0.0 <= decay < 1.0:
        raise ValueError(f"decay is {decay}; it must be in [0, 1).")
    settings = build(ScheduleSettings, **{**(schedule or {}), "slope": slope})
    neurons = {"passes": passes, "slope": slope, "decay": decay}
    own = {"net_arch": {"pi": list(hidden), "qf": [256, 256]}, "neurons": neurons}
    policy = own | dict(td3_settings.pop("policy_kwargs", None) or {})
    td3_settings.setdefault("action_noise", NormalActionNoise(np.zeros(space.shape), np.full(space.shape, 0.1)))
    stacked = gym.wrappers.FrameStackObservation(env, history)
    model = SpikingTD3(SpikingPolicy, stacked, policy_kwargs=policy, seed=seed, **td3_settings)
    model.schedule = SlopeSchedule(settings)
    return model
