"""Worlds that change: a physical parameter or the actuators follow a schedule, in any Gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from envs.schedules import Applied, Floats, Held, Parameter, Place, Schedule


class Scheduled(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """What wrappers share in which values follow schedules.

    Attributes
    ----------
    steps : int
        Steps made, of this episode or of the wrapper's life: where the schedules are.
    """

    def __init__(self, env: gym.Env[Any, Any], per_episode: bool) -> None:
        super().__init__(env)
        self.steps, self._per_episode = 0, bool(per_episode)
        self._courses: list[tuple[Schedule, Place, Floats, Floats]] = []

    def _follow(self, name: str, schedule: Schedule, place: Place) -> None:
        """Have the value at a place follow a schedule."""
        if not isinstance(schedule, Schedule):
            raise ValueError(f"{name} is {schedule!r}; it must be a StepChange, a Ramp or a RandomWalk.")
        first = place.read()
        for value in schedule.extremes:
            row = np.asarray(value, np.float64)
            if row.shape not in ((), first.shape) or not np.isfinite(row).all():
                raise ValueError(
                    f"{name} is to become {value!r}; it must be finite, of shape {first.shape} or a number."
                )
        self._courses.append((schedule, place, first, first.copy()))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the first values come back if the schedule is one of episodes."""
        if self._per_episode:
            self.steps = 0
            for _, place, first, _ in self._courses:
                place.write(first)
        return super().reset(seed=seed, options=options)

    def _move(self) -> None:
        """Bring all values to where they are in the step to come."""
        for schedule, place, _, start in self._courses:
            elapsed = self.steps - schedule.at
            if 0 <= elapsed < schedule.lasts:
                value = place.read()
                if elapsed == 0:
                    start[...] = value
                place.write(schedule.next(elapsed, start, value, self.np_random))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Let the values go on, then the world."""
        self._move()
        moved = self.env.step(self._act(action))
        self.steps += 1
        return moved

    def _act(self, action: Any) -> Any:
        """What the world is given for an action."""
        return action


class Change(Scheduled):
    """A physical parameter changes: at once, evenly over time, or at random.

    Several wrappers go around each other, around one parameter, too; each takes the value as it finds it. The random
    numbers are those of the environment: one seed, one run.

    Parameters
    ----------
    env : gymnasium.Env
        Any; compiled worlds and attributes of others, MuJoCo's model among them.
    parameter : str or callable
        Name of a number or an array, see `envs.schedules.Parameter`. Or a function ``(world, value)`` that puts a value
        into ``env.unwrapped``, for where other numbers follow from it: those of Gymnasium's CartPole, or of a body's
        mass in MuJoCo, where ``mujoco.mj_setConst`` is to be called.
    schedule : StepChange, Ramp or RandomWalk
    start : float or array_like, optional
        Value that the world has before, which is asked for if `parameter` is a function, and only then.
    per_episode : bool
        True: the schedule starts anew with each episode, and the first value comes back with each reset. False: steps
        are counted over the wrapper's whole life, and a reset leaves the parameter as it is.

    Attributes
    ----------
    value : array, float64
        What the parameter is now, a copy.
    steps : int
        Steps made, of this episode or of the wrapper's life: where the schedule is.

    Raises
    ------
    ValueError
        No such parameter; a value of another shape or that the world refuses. Nothing was changed.

    Examples
    --------
    From its 300th step on, over 100 steps, a quadrotor's third motor loses 30 % of its thrust:

    >>> from envs import Quadrotor
    >>> from envs.schedules import Ramp, StepChange
    >>> env = Change(Quadrotor(), "motors[2]", Ramp(at=300, to=0.7, over=100))

    In Gymnasium's CartPole another number follows from the pole's length:

    >>> def set_length(world, length):
    ...     world.length, world.polemass_length = length, world.masspole * length
    >>> env = Change(gym.make("CartPole-v1"), set_length, StepChange(at=1, to=1.5), start=0.5)
    >>> observation, _ = env.reset(seed=0)
    >>> for _ in range(2):
    ...     _ = env.step(0)
    >>> env.unwrapped.length, float(env.value)
    (1.5, 1.5)
    """

    def __init__(
        self, env: gym.Env[Any, Any], parameter: str | Callable[[Any, Any], None], schedule: Schedule, *,
        start: npt.ArrayLike | None = None, per_episode: bool = False,
    ) -> None:  # fmt: skip
        gym.utils.RecordConstructorArgs.__init__(
            self, parameter=parameter, schedule=schedule, start=start, per_episode=per_episode
        )
        super().__init__(env, per_episode)
        if isinstance(parameter, str) == (start is not None):
            needed = "left out: the world tells" if isinstance(parameter, str) else "given: a function cannot tell"
            raise ValueError(f"start is {start!r} and parameter {parameter!r}; it must be {needed} what the value is.")
        self._place: Place
        if isinstance(parameter, str):
            self._place = Parameter(env.unwrapped, parameter)
        else:
            assert start is not None
            self._place = Applied(env.unwrapped, parameter, start)
        self._follow("parameter", schedule, self._place)
        if isinstance(parameter, str):
            self._try(schedule)

    def _try(self, schedule: Schedule) -> None:
        """Refuse now what the world would refuse amid an episode."""
        first = self._place.read()
        try:
            for value in schedule.extremes:
                self._place.write(np.broadcast_to(np.asarray(value, np.float64), first.shape))
        finally:
            self._place.write(first)

    @property
    def value(self) -> Floats:
        """See the class."""
        return self._place.read()


class Actuators(Scheduled):
    """Actuators lose strength or push off centre: what is done is factor x action + bias, within the action's bounds.

    Parameters
    ----------
    env : gymnasium.Env
        Its actions are a Box.
    factor : StepChange, Ramp or RandomWalk, optional
        What becomes of the factors of the entries of an action, which are 1 at first. 0 is an entry that is lost.
    bias : StepChange, Ramp or RandomWalk, optional
        What becomes of the biases, in units of the action, which are 0 at first.
    per_episode : bool
        As of `Change`.

    Attributes
    ----------
    factor, bias : array, float64, of the shape of an action
        What they are now.
    steps : int
        As of `Change`.

    Raises
    ------
    ValueError
        Actions that are no Box; values of another shape, or not finite.

    Examples
    --------
    >>> from envs.schedules import StepChange
    >>> env = Actuators(gym.make("Pendulum-v1"), factor=StepChange(at=200, to=0.5), bias=StepChange(at=0, to=0.1))
    """

    def __init__(
        self, env: gym.Env[Any, Any], factor: Schedule | None = None, bias: Schedule | None = None, *,
        per_episode: bool = False,
    ) -> None:  # fmt: skip
        gym.utils.RecordConstructorArgs.__init__(self, factor=factor, bias=bias, per_episode=per_episode)
        super().__init__(env, per_episode)
        if not isinstance(env.action_space, gym.spaces.Box):
            raise ValueError(f"action space is {env.action_space}; it must be a Box.")
        self._box = env.action_space
        self.factor, self.bias = np.ones(self._box.shape), np.zeros(self._box.shape)
        for name, schedule, value in (("factor", factor, self.factor), ("bias", bias, self.bias)):
            if schedule is not None:
                self._follow(name, schedule, Held(value))

    def _act(self, action: Any) -> Any:
        given = np.asarray(action)
        if given.shape != self._box.shape:
            raise ValueError(f"action has shape {given.shape}; it must be {self._box.shape}.")
        done = np.clip(self.factor * given + self.bias, self._box.low, self._box.high)
        return done.astype(self._box.dtype)
