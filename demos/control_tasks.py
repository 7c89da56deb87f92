"""What the studies of control learn: the tasks of the table, and other worlds, for which little was chosen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium.wrappers import DelayObservation, FlattenObservation, StickyAction, TimeLimit

from controllers import MEMORY
from demos.control_wrappers import Irrelevant, Sparse
from envs import DelayedCue, MaskObservation, NoisyObservation

CUES = MEMORY | {"n_fields": 2, "adaptive_share": 0.75}  # a field for on, one for off, and most neurons to remember it
VELOCITIES = {  # their entries in an observation, and, of the lander, its speed of turning
    "CartPole-v1": [1, 3], "Pendulum-v1": [2], "Acrobot-v1": [4, 5], "InvertedPendulum-v5": [2, 3],
    "MountainCar-v0": [1], "MountainCarContinuous-v0": [1], "LunarLander-v3": [2, 3, 5],
}  # fmt: skip


class Task(NamedTuple):
    """A world, when it counts as solved, and what a run may take."""

    title: str
    make: Callable[[], gym.Env[Any, Any]]
    threshold: float | None  #: mean return over `window` episodes to reach; None: the final mean return is the result
    window: int
    budget: int  #: environment steps
    settings: Mapping[str, Any] = {}  #: what differs from the default agent
    needs: str | None = None  #: module that the extra `control` brings


def _gym(name: str, threshold: float | None, window: int, budget: int, needs: str | None = None) -> dict[str, Task]:
    return {name: Task(name, functools.partial(gym.make, name), threshold, window, budget, needs=needs)}


def _wrapped(name: str, wrapper: Callable[..., gym.Env[Any, Any]], **given: Any) -> gym.Env[Any, Any]:
    """A world of Gymnasium with a wrapper around it."""
    return wrapper(gym.make(name), **given)


TABLE: dict[str, Task] = {
    **_gym("CartPole-v1", 475.0, 100, 100_000),
    **_gym("Acrobot-v1", -100.0, 100, 60_000),
    **_gym("Pendulum-v1", -200.0, 20, 100_000),
    **_gym("InvertedPendulum-v5", 950.0, 100, 160_000, "mujoco"),
    **_gym("MountainCar-v0", -110.0, 100, 150_000),
    **_gym("MountainCarContinuous-v0", 90.0, 100, 100_000),
    **_gym("LunarLander-v3", 200.0, 100, 500_000, "Box2D"),
    "CartPole-positions": Task(
        "CartPole-v1, positions only",
        functools.partial(_wrapped, "CartPole-v1", MaskObservation, hidden=VELOCITIES["CartPole-v1"]),
        475.0, 100, 150_000, MEMORY,
    ),
    **{  # 1 for a right answer, -1 for a wrong one: nine in ten right is a mean of 0.8
        f"DelayedCue-{n}": Task(f"delayed cue, {n} steps", functools.partial(DelayedCue, n), 0.8, 100, 100_000,
                                CUES)
        for n in (10, 30, 100)
    },
    **_gym("Hopper-v5", None, 100, 1_000_000, "mujoco"),
    **_gym("Walker2d-v5", None, 100, 1_000_000, "mujoco"),
    **_gym("HalfCheetah-v5", None, 100, 1_000_000, "mujoco"),
}  # fmt: skip


def _make(name: str, given: Mapping[str, Any], changes: Mapping[str, float | str]) -> gym.Env[Any, Any]:
    """A world of Gymnasium made with `given`, attributes of which are changed."""
    env = gym.make(name, **given)
    for attribute, value in changes.items():
        if not hasattr(env.unwrapped, attribute):
            raise AttributeError(f"{name} has no {attribute}.")
        setattr(env.unwrapped, attribute, value)
    return env


def _changed(name: str, what: str, steps: int, given: Mapping[str, Any] = {}, **changes: float | str) -> Task:
    """The task of the table with a world that is changed."""
    return _instead(name, what, steps, functools.partial(_make, name, given, changes))


def _around(name: str, what: str, steps: int, wrapper: Callable[..., gym.Env[Any, Any]], **given: Any) -> Task:
    """The task of the table with a wrapper around the world."""
    return _instead(name, what, steps, functools.partial(_wrapped, name, wrapper, **given))


def _instead(name: str, what: str, steps: int, make: Callable[[], gym.Env[Any, Any]]) -> Task:
    """The task of the table with another world, and so without its threshold."""
    return TABLE[name]._replace(title=f"{name}, {what}", make=make, threshold=None, budget=steps)


def _hidden(name: str) -> Task:
    """The task of the table without velocities."""
    task = _around(name, "positions only", TABLE[name].budget, MaskObservation, hidden=VELOCITIES[name])
    return task._replace(settings={"differences": True})


def _states(name: str) -> gym.Env[Any, Any]:
    """A world that is in one of n states, as n entries, cut off after 1,000 steps if nothing else ends it."""
    return TimeLimit(FlattenObservation(gym.make(name)), 1000)


# changed physics (in brackets what it is in the table), other bodies, worlds of states, those of the table without
# velocities, and with noise, delays, actions that stick, entries that mean nothing and rewards at the goal alone;
# nothing was chosen for them but the settings for states (`controllers.spaces.SWITCHES`), for bodies, by BipedalWalker,
# and, where velocities are hidden, differences without neurons that adapt, all by seeds from 300
OTHERS: dict[str, Task] = {
    "CartPole-long": _changed("CartPole-v1", "pole of 3 m (1)", 100_000, length=1.5, polemass_length=0.15),
    "CartPole-gravity": _changed("CartPole-v1", "gravity 20 (9.8)", 100_000, gravity=20.0),
    "CartPole-weak": _changed("CartPole-v1", "force 5 N (10)", 100_000, force_mag=5.0),
    "Acrobot-heavy": _changed("Acrobot-v1", "second link of 1.5 kg (1)", 60_000, LINK_MASS_2=1.5),
    "Acrobot-nips": _changed("Acrobot-v1", "other dynamics (nips)", 60_000, book_or_nips="nips"),
    "Pendulum-light": _changed("Pendulum-v1", "gravity 5 (10)", 100_000, g=5.0),
    "Pendulum-heavy": _changed("Pendulum-v1", "gravity 13 (10)", 100_000, g=13.0),
    "MountainCar-gravity": _changed("MountainCar-v0", "gravity .003 (.0025)", 150_000, gravity=0.003),
    "MountainCarContinuous-weak": _changed("MountainCarContinuous-v0", "power .0012 (.0015)", 100_000, power=0.0012),
    "LunarLander-gravity": _changed("LunarLander-v3", "gravity 6 (10)", 300_000, {"gravity": -6.0}),
    "LunarLander-forces": _changed("LunarLander-v3", "forces", 300_000, {"continuous": True}),
    **_gym("InvertedDoublePendulum-v5", None, 100, 200_000, "mujoco"),
    **_gym("BipedalWalker-v3", None, 100, 300_000, "Box2D"),
    **_gym("Reacher-v5", None, 100, 60_000, "mujoco"),
    **_gym("Pusher-v5", None, 100, 60_000, "mujoco"),
    **{name: Task(name, functools.partial(_states, name), None, 100, 60_000)
       for name in ("FrozenLake-v1", "FrozenLake8x8-v1", "CliffWalking-v1", "Blackjack-v1")},
    **{f"{name.rsplit('-', 1)[0]}-positions": _hidden(name) for name in VELOCITIES if name != "CartPole-v1"},
    "CartPole-noisy": _around("CartPole-v1", "noisy sensors", 60_000, NoisyObservation,
                              deviation=[0.02, 0.1, 0.01, 0.1]),
    "Pendulum-noisy": _around("Pendulum-v1", "noisy sensors", 60_000, NoisyObservation, deviation=0.1),
    "InvertedPendulum-noisy": _around("InvertedPendulum-v5", "noisy sensors", 100_000, NoisyObservation,
                                      deviation=0.02),
    "CartPole-late": _around("CartPole-v1", "seen two steps late", 60_000, DelayObservation, delay=2),
    "Pendulum-late": _around("Pendulum-v1", "seen two steps late", 60_000, DelayObservation, delay=2),
    "InvertedPendulum-late": _around("InvertedPendulum-v5", "seen two steps late", 100_000, DelayObservation,
                                     delay=2),
    "CartPole-sticky": _around("CartPole-v1", "a quarter of the actions repeated", 60_000, StickyAction,
                               repeat_action_probability=0.25),
    "CartPole-irrelevant": _around("CartPole-v1", "10 entries of noise", 60_000, Irrelevant, n=10),
    "Acrobot-irrelevant": _around("Acrobot-v1", "10 entries of noise", 60_000, Irrelevant, n=10),
    "MountainCar-irrelevant": _around("MountainCar-v0", "5 entries of noise", 150_000, Irrelevant, n=5),
    "Acrobot-sparse": _around("Acrobot-v1", "reward at the goal alone", 60_000, Sparse),
    "MountainCar-sparse": _around("MountainCar-v0", "reward at the goal alone", 150_000, Sparse),
    "LunarLander-wind": _changed("LunarLander-v3", "wind", 300_000, {"enable_wind": True}),
}  # fmt: skip
TASKS = TABLE | OTHERS
