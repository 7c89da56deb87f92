"""Wrappers: parameters and actuators that change, observations hidden, lost, late or noisy; on worlds of every kind."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import DelayObservation, DtypeObservation, ReshapeObservation

from envs import CartPole, Quadrotor
from envs.changes import Actuators, Change
from envs.schedules import Parameter, Ramp, RandomWalk, StepChange
from envs.wrappers import DropObservation, MaskObservation, NoisyObservation

Env = gym.Env[Any, Any]


def mujoco() -> Env:
    """A pendulum on a cart."""
    pytest.importorskip("mujoco")
    return gym.make("InvertedPendulum-v5")


def set_length(world: Any, length: float) -> None:
    """Of Gymnasium's pole, with what follows from it."""
    world.length, world.polemass_length = length, world.masspole * length


# What makes each world, one of its parameters, its value, another one; and a hidden entry of its observation.
WORLDS: dict[str, tuple[Callable[[], Env], str, float, float, int]] = {
    "Gymnasium's CartPole": (lambda: gym.make("CartPole-v1"), "gravity", 9.8, 20.0, 1),
    "Pendulum": (lambda: gym.make("Pendulum-v1"), "g", 10.0, 3.0, 2),
    "CartPole": (CartPole, "length", 0.5, 1.5, 3),
    "Quadrotor": (Quadrotor, "motors[2]", 1.0, 0.7, 12),
    "InvertedPendulum": (mujoco, "model.opt.gravity[2]", -9.81, -3.0, 2),
}
EACH = pytest.mark.parametrize(("make", "name", "old", "new", "hidden"), WORLDS.values(), ids=list(WORLDS))


def stack(make: Callable[[], Env], name: str, new: float, hidden: int, per_episode: bool = False) -> Env:
    """All wrappers around one another."""
    env: Env = Change(make(), name, Ramp(at=2, to=new, over=3), per_episode=per_episode)
    if isinstance(env.action_space, gym.spaces.Box):
        env = Actuators(env, factor=StepChange(at=3, to=0.8), bias=RandomWalk(at=0, deviation=0.01), per_episode=True)
    seen: Env = DelayObservation(NoisyObservation(env, 0.01), 2)
    return DropObservation(MaskObservation(seen, [hidden]), 0.3)


def rollout(env: Env, seed: int, steps: int = 60) -> list[Any]:
    """What is seen and paid, over episodes."""
    env.action_space.seed(seed)
    shown = [env.reset(seed=seed)[0].tolist()]
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        shown.append((observation.tolist(), float(reward), terminated, truncated))
        if terminated or truncated:
            shown.append(env.reset()[0].tolist())
    return shown


@EACH
def test_all_together_are_an_environment(
    make: Callable[[], Env], name: str, old: float, new: float, hidden: int
) -> None:  # fmt: skip
    """Gymnasium's checker finds no fault, but that it is wrapped and what it says of the bounds of its own worlds."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*different from the unwrapped version")
        warnings.filterwarnings("ignore", ".*observation space (minimum|maximum) value is -?infinity")
        warnings.filterwarnings("ignore", ".*recommend using a symmetric and normalized space")
        check_env(stack(make, name, new, hidden, per_episode=True), skip_render_check=True)


@EACH
def test_same_seed_same_rollout(make: Callable[[], Env], name: str, old: float, new: float, hidden: int) -> None:
    """With all wrappers; another seed is another run."""
    first, twin, other = (rollout(stack(make, name, new, hidden), seed) for seed in (4, 4, 5))
    assert first == twin != other


@EACH
def test_a_parameter_jumps(make: Callable[[], Env], name: str, old: float, new: float, hidden: int) -> None:
    """Three steps with the old value, the fourth with the new, which stays over a reset; the world sees it."""
    env, plain = Change(make(), name, StepChange(at=3, to=new)), make()
    place = Parameter(env.unwrapped, name)
    for each in (env, plain):
        each.reset(seed=1)
        each.action_space.seed(1)
    differ = []
    for step in range(6):
        shown, same = env.step(env.action_space.sample()), plain.step(plain.action_space.sample())
        assert place.read() == env.value == pytest.approx(old if step < 3 else new)
        differ.append(not np.array_equal(shown[0], same[0]))
    assert differ[:3] == [False] * 3 and any(differ[3:])
    env.reset()
    assert env.value == pytest.approx(new) and env.steps == 6


@EACH
def test_per_episode_a_parameter_comes_back(
    make: Callable[[], Env], name: str, old: float, new: float, hidden: int
) -> None:  # fmt: skip
    """At the reset, and it changes anew in the next episode."""
    env = Change(make(), name, StepChange(at=1, to=new), per_episode=True)
    env.action_space.seed(0)
    for _ in range(2):
        env.reset(seed=0)
        assert env.value == pytest.approx(old) and env.steps == 0
        values = [float(env.value) for _ in range(3) if env.step(env.action_space.sample())]
        assert values == pytest.approx([old, new, new])


def values(env: Change, steps: int) -> list[float]:
    """What the parameter is in each of some steps, over episodes."""
    env.reset(seed=3)
    found = []
    for step in range(steps):
        _, _, terminated, truncated, _ = env.step(step % 2)
        found.append(float(env.value))
        if terminated or truncated:
            env.reset()
    return found


def test_a_ramp_goes_evenly_from_what_it_finds() -> None:
    """Five steps from 9.8 to 14.8; another wrapper on the same parameter goes on from there."""
    env = Change(CartPole(), "gravity", Ramp(at=2, to=14.8, over=5))
    env = Change(env, "gravity", Ramp(at=8, to=4.8, over=2))
    found = values(env, 12)
    assert found == pytest.approx([9.8, 9.8, 10.8, 11.8, 12.8, 13.8, 14.8, 14.8, 9.8, 4.8, 4.8, 4.8])
    assert found[-1] == 4.8


def test_a_walk_is_the_environments_own() -> None:
    """Normal steps drawn from the environment's generator, stopped at the bounds; a seed decides."""
    env = Change(CartPole(), "force", RandomWalk(at=1, deviation=0.5, low=9.0, high=11.0))
    found = values(env, 300)
    rng = np.random.default_rng(3)
    rng.uniform(-0.05, 0.05, 4)
    expected = 10.0
    for step in range(1, 8):  # before the first episode ends
        expected = float(np.clip(expected + 0.5 * rng.standard_normal(), 9.0, 11.0))
        assert found[step] == pytest.approx(expected)
    assert (min(found), max(found)) == (9.0, 11.0)
    assert 0.2 < np.std(np.diff(found)) < 0.5


def test_arrays_change_whole_and_by_entries() -> None:
    """One number for all, a row, one entry."""
    env = Change(Quadrotor(), "motors", StepChange(at=0, to=[1.0, 0.9, 0.8, 0.7]))
    env = Change(Change(env, "wind", StepChange(at=0, to=0.01)), "inertia[1]", Ramp(at=0, to=5e-6, over=1))
    env.reset(seed=0)
    env.step(np.zeros(4, np.float32))
    world = env.unwrapped
    assert isinstance(world, Quadrotor)
    assert world.parameter("motors").tolist() == [1.0, 0.9, 0.8, 0.7]
    assert world.parameter("wind").tolist() == [0.01] * 3
    assert world.parameter("inertia").tolist() == [3.85e-6, 5e-6, 5.9675e-6]


def test_arrays_of_attributes_change_by_entries() -> None:
    """An entry of a matrix in MuJoCo's model, and no other."""
    friction = Change(mujoco(), "model.geom_friction[1, 0]", StepChange(at=0, to=0.3))
    friction.reset(seed=0)
    friction.step(np.zeros(1, np.float32))
    changed: Any = friction.unwrapped
    assert changed.model.geom_friction[1, 0] == 0.3 and changed.model.geom_friction[0, 0] != 0.3


def test_a_function_keeps_what_follows_consistent() -> None:
    """Gymnasium's cart with a pole that gets longer in flight moves as the compiled one does."""
    theirs = Change(gym.make("CartPole-v1"), set_length, Ramp(at=2, to=1.5, over=4), start=0.5)
    ours = Change(CartPole(), "length", Ramp(at=2, to=1.5, over=4))
    world, compiled = theirs.unwrapped, ours.unwrapped
    assert isinstance(compiled, CartPole)
    theirs.reset(seed=5)
    ours.reset(seed=5)
    compiled.world[:4] = world.state  # type: ignore[attr-defined]
    for step in range(9):
        np.testing.assert_allclose(ours.step(step % 2)[0], theirs.step(step % 2)[0], rtol=1e-5)
        assert ours.value == pytest.approx(theirs.value)
    assert world.length == 1.5 and world.polemass_length == pytest.approx(0.15)  # type: ignore[attr-defined]


class Tape(gym.Env[Any, Any]):
    """Writes down the actions it gets, and shows them."""

    observation_space = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.done: list[Any] = []
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.done.append(action.tolist())
        return np.full(2, len(self.done), np.float32) / 10000.0, 0.0, False, False, {}


class Far(Tape):
    """Shows nothing near zero."""

    observation_space = gym.spaces.Box(1.0, 2.0, (2,), np.float32)


def test_actuators_lose_strength_and_lean() -> None:
    """factor x action + bias, each from its step on, within the bounds; anew in each episode if asked."""
    tape = Tape()
    env = Actuators(tape, factor=StepChange(at=1, to=[0.5, 1.0]), bias=StepChange(at=2, to=0.75), per_episode=True)
    for _ in range(2):
        env.reset(seed=0)
        for _ in range(3):
            env.step(np.array([0.5, -1.0], np.float32))
        assert tape.done == [[0.5, -1.0], [0.25, -1.0], [1.0, -0.25]]
    assert env.factor.tolist() == [0.5, 1.0] and env.bias.tolist() == [0.75, 0.75]
    with pytest.raises(ValueError, match=r"action has shape \(\); it must be \(2,\)"):
        env.step(0.5)
    assert env.steps == 3


def test_a_lost_actuator_pushes_no_more() -> None:
    """A pendulum without its motor swings as if nobody acted."""
    env = Actuators(gym.make("Pendulum-v1"), factor=StepChange(at=0, to=0.0))
    free = gym.make("Pendulum-v1")
    env.reset(seed=2)
    free.reset(seed=2)
    for _ in range(20):
        shown, alone = env.step(np.array([2.0], np.float32))[0], free.step(np.zeros(1, np.float32))[0]
        assert np.array_equal(shown, alone)


def test_hidden_entries_are_gone() -> None:
    """From observation and space, the others stay."""
    env, plain = MaskObservation(gym.make("CartPole-v1"), [3, 1]), gym.make("CartPole-v1")
    shown, full = env.reset(seed=0)[0], plain.reset(seed=0)[0]
    assert isinstance(plain.observation_space, gym.spaces.Box)
    low, high = plain.observation_space.low[[0, 2]], plain.observation_space.high[[0, 2]]
    assert env.observation_space == gym.spaces.Box(low, high)
    assert np.array_equal(shown, full[[0, 2]])
    assert np.array_equal(env.step(1)[0], plain.step(1)[0][[0, 2]])


@pytest.mark.parametrize("shown", ["last", "zeros"])
def test_lost_observations(shown: Any) -> None:
    """As many as the probability says; the last one that came through is seen, or zeros; a reset is never lost."""
    env = DropObservation(Tape(), 0.3, shown)
    last, lost = env.reset(seed=1)[0], 0
    for step in range(1, 2001):
        seen = env.step(np.zeros(2, np.float32))[0]
        if seen[0] != np.float32(step / 10000.0):
            lost += 1
            assert np.array_equal(seen, np.zeros(2) if shown == "zeros" else last)
        else:
            last = seen.copy()
        seen[:] = -1.0  # what is handed out may be overwritten
        last = last.copy()
    assert abs(lost / 2000 - 0.3) < 0.04
    assert np.array_equal(env.reset()[0], np.zeros(2))


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    """On each entry its own; the space is wide enough, and unbounded stays unbounded."""
    env = NoisyObservation(Tape(), [0.5, 0.0])
    off = [env.reset(seed=0)[0], *(env.step(np.zeros(2, np.float32))[0] - k / 10000.0 for k in range(1, 3000))]
    assert np.std(off, axis=0)[0] == pytest.approx(0.5, rel=0.04) and np.abs(np.mean(off, axis=0)[0]) < 0.04
    np.testing.assert_allclose(np.array(off)[:, 1], 0.0, atol=1e-6)
    assert env.observation_space == gym.spaces.Box(np.array([-7, -2], np.float32), np.array([7, 2], np.float32))
    infinite = NoisyObservation(gym.make("CartPole-v1"), 0.1).observation_space
    assert isinstance(infinite, gym.spaces.Box)
    assert infinite.low[1] == -np.inf and infinite.low[0] == pytest.approx(-5.8)


def test_wrapped_worlds_can_be_copied_and_made_again() -> None:
    """A pickle goes on as the first; the specification of a registered world makes the wrappers again."""
    env: Env = NoisyObservation(Change(Quadrotor(), "mass", RandomWalk(at=0, deviation=1e-4, low=0.01)), 0.01)
    env = MaskObservation(Actuators(env, bias=Ramp(at=0, to=0.2, over=9)), [3])
    env.reset(seed=1)
    env.step(np.zeros(4, np.float32))
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        ours, theirs = copy.deepcopy(env), twin
        for _ in range(3):
            assert np.array_equal(*(each.step(np.zeros(4, np.float32))[0] for each in (ours, theirs)))
    made = DropObservation(Change(gym.make("Pendulum-v1"), "m", StepChange(at=1, to=2.0)), 0.2)
    assert made.spec is not None
    again = gym.make(made.spec)
    assert rollout(made, 3) == rollout(again, 3)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: StepChange(at=-1, to=1.0), "at is -1; it must be a whole number, 0 or more."),
    (lambda: Ramp(at=0, to=1.0, over=0), "over is 0; it must be a whole number, 1 or more."),
    (lambda: RandomWalk(at=0, deviation=-1.0), "deviation is -1.0; it must be finite and 0 or more."),
    (lambda: RandomWalk(at=0, deviation=1.0, low=2.0, high=1.0), "low is 2.0; it must be below high, 1.0."),
    (lambda: Change(CartPole(), "mass", StepChange(at=0, to=1.0)), "there is no parameter 'mass'"),
    (lambda: Change(CartPole(), "length", StepChange(at=0, to=-1.0)), "length is -1.0; it must be finite and above 0."),
    (lambda: Change(CartPole(), "length", StepChange(at=0, to=np.nan)), "parameter is to become nan; it must be"),
    (lambda: Change(CartPole(), "length", StepChange(at=0, to=[1.0, 2.0])), "parameter is to become [1.0, 2.0]"),
    (lambda: Change(CartPole(), "length[0]", StepChange(at=0, to=1.0)), "but length has shape ()"),
    (lambda: Change(Quadrotor(), "motors[4]", StepChange(at=0, to=1.0)), "but motors has shape (4,)"),
    (lambda: Change(CartPole(), "a b", StepChange(at=0, to=1.0)), "parameter is 'a b'; it must be a name"),
    (lambda: Change(CartPole(), "length", 1.0), "parameter is 1.0; it must be a StepChange"),  # type: ignore[arg-type]
    (lambda: Change(gym.make("CartPole-v1"), "mass", StepChange(at=0, to=1.0)), "has no parameter 'mass'"),
    (lambda: Change(gym.make("CartPole-v1"), "kinematics_integrator", StepChange(at=0, to=1.0)), "only a number or an"),
    (lambda: Change(gym.make("CartPole-v1"), set_length, StepChange(at=0, to=1.0)), "start is None and parameter"),
    (lambda: Change(CartPole(), "length", StepChange(at=0, to=1.0), start=0.5), "start is 0.5 and parameter 'length'"),
    (lambda: Actuators(CartPole(), factor=StepChange(at=0, to=0.5)), "action space is Discrete(2); it must be a Box."),
    (lambda: Actuators(Tape(), bias=StepChange(at=0, to=[1.0])), "bias is to become [1.0]; it must be finite"),
    (lambda: DropObservation(CartPole(), 1.5), "probability is 1.5; it must be 0 to 1."),
    (lambda: DropObservation(CartPole(), 0.5, "old"), "shown is 'old'"),  # type: ignore[arg-type]
    (lambda: DropObservation(gym.make("Blackjack-v1"), 0.5), "wrap it with FlattenObservation"),
    (lambda: DropObservation(Far(), 0.5, "zeros"), 'shown is "zeros", which is not in'),
    (lambda: MaskObservation(ReshapeObservation(CartPole(), (2, 2)), [0]), "observation has shape (2, 2)"),
    (lambda: NoisyObservation(DtypeObservation(Tape(), np.int64), 0.1), "it must be of floats."),
    (lambda: MaskObservation(CartPole(), [4]), "hidden is [4]; it must be some, not all, of the entries 0 to 3, once."),
    (lambda: MaskObservation(CartPole(), [1, 1]), "hidden is [1, 1]"),
    (lambda: MaskObservation(CartPole(), [0, 1, 2, 3]), "hidden is [0, 1, 2, 3]"),
    (lambda: MaskObservation(CartPole(), []), "hidden is []"),
    (lambda: NoisyObservation(CartPole(), -0.1), "deviation is -0.1; it must be finite, 0 or more"),
    (lambda: NoisyObservation(CartPole(), [0.1, 0.1]), "deviation is [0.1, 0.1]"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_arguments_are_refused(make: Callable[[], Any], message: str) -> None:
    """The error says what came and what is wanted."""
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_a_refused_change_changes_nothing() -> None:
    """Not even for a moment too long: the parameter is what it was."""
    world = Quadrotor()
    with pytest.raises(ValueError, match=r"motors is -0\.1"):
        Change(world, "motors[1]", RandomWalk(at=0, deviation=0.1, low=-0.1, high=1.0))
    assert world.parameter("motors").tolist() == [1.0] * 4
