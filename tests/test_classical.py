"""Classical controllers against their equations and on their worlds; frozen copies and limits of any agent."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest

from controllers import LQR, PID, ActorCritic, Frozen, Limited, Limits, Loop, QuadrotorController, StreamAC, evaluate
from controllers import geometric as places
from envs import CartPole, Quadrotor
from envs import quadrotor_dynamics as world_places
from envs.quadrotor import LEARNING_TO_FLY, RL_TOOLS
from tests.checks import assert_same, snapshot

Floats = npt.NDArray[np.float64]
SETS = pytest.mark.parametrize("model", [LEARNING_TO_FLY, RL_TOOLS], ids=["learning to fly", "rl tools"])

# --- PID -------------------------------------------------------------------------------------------------------------


def test_pid_is_its_three_terms() -> None:
    """Proportional and integral of the error, derivative of the measurement, filtered; on two loops at once."""
    kp, ki, kd, dt, lag = np.array([2.0, 1.0]), np.array([0.5, 0.0]), np.array([0.3, 0.1]), 0.1, 0.2
    pid = PID(kp, ki, kd, dt, measurement=[2, 0], target=[1.0, -1.0], filter_time=lag)
    integral, slope, last = np.zeros(2), np.zeros(2), None
    for t in range(20):
        observation = np.random.default_rng(t).normal(size=3)
        y = observation[[2, 0]]
        rate = np.zeros(2) if last is None else (y - last) / dt
        slope, last = slope + dt / (lag + dt) * (rate - slope), y
        error = np.array([1.0, -1.0]) - y
        expected = kp * error + integral - kd * slope
        integral = integral + dt * ki * error
        np.testing.assert_allclose(pid.act(observation), expected.astype(np.float32), rtol=1e-6)
    pid.reset()
    np.testing.assert_allclose(pid.act(np.zeros(3)), kp * [1.0, -1.0])


def test_pid_does_not_kick_when_the_target_jumps() -> None:
    """The derivative is that of the measurement."""
    pid = PID(0.0, 0.0, 5.0, 0.01, measurement=[0])
    pid.begin(np.array([3.0]))
    pid.target[:] = 100.0
    assert pid.step(np.array([3.0]))[0] == 0.0
    assert pid.step(np.array([3.1]))[0] == pytest.approx(-50.0)


def test_pid_takes_a_rate_that_is_shown() -> None:
    """By entries or by a function."""
    shown = np.array([0.2, 0.5])
    for rate in ([1], lambda x: x[1]):
        assert PID(1.0, 0.0, 2.0, 0.1, lambda x: x[0], rate=rate).act(shown)[0] == pytest.approx(-1.2)


def overshoot(controller: Callable[[float], float]) -> float:
    """How far a slow plant, x' = (u - x) / 2 s, goes beyond the target of 1, when u is bounded to [0, 1.2]."""
    x = highest = 0.0
    for _ in range(4000):
        x += 0.01 * (controller(x) - x) / 2.0
        highest = max(highest, x)
    assert x == pytest.approx(1.0, abs=0.01)
    return highest - 1.0


@pytest.mark.parametrize("tracking_time", [None, 0.5])
def test_pid_does_not_wind_up(tracking_time: float | None) -> None:
    """It overshoots by less than a fifth of one that integrates on while its output is cut off."""
    state = [0.0]

    def naive(x: float) -> float:
        u = min(max(2.0 * (1.0 - x) + state[0], 0.0), 1.2)
        state[0] += 0.01 * 3.0 * (1.0 - x)
        return u

    pid = PID(2.0, 3.0, 0.0, 0.01, [0], target=1.0, low=0.0, high=1.2, tracking_time=tracking_time)
    assert overshoot(lambda x: float(pid.act(np.array([x]))[0])) < 0.2 * overshoot(naive)


def test_pid_back_calculation() -> None:
    """The integral follows what was cut off, over its time constant."""
    pid = PID(1.0, 2.0, 0.0, 0.1, [0], target=5.0, high=1.0, tracking_time=0.5)
    integral = 0.0
    for _ in range(10):
        wanted = 5.0 + integral
        integral += 0.1 * (10.0 + (min(wanted, 1.0) - wanted) / 0.5)
        assert pid.act(np.zeros(1))[0] == np.float32(min(wanted, 1.0))
    assert float(pid._integral[0]) == pytest.approx(integral)


def test_pid_balances_a_pole() -> None:
    """By its angle alone, with the nearest of two pushes; a copy amid an episode goes on as it does."""
    pid = PID(40.0, 10.0, 8.0, 0.02, [2], rate=[3], low=-10.0, high=10.0, choices=[10.0, -10.0])
    assert min(evaluate(pid, gym.make("CartPole-v1"), 3)) == 500.0
    shown = np.random.default_rng(0).normal(0.0, 0.1, (20, 4))
    twin = pickle.loads(pickle.dumps(pid))
    assert [pid.act(x) for x in shown] == [twin.act(x) for x in shown]


# --- LQR -------------------------------------------------------------------------------------------------------------


def cart_pole_step(world: Any, x: Floats, u: Floats) -> Floats:
    """Next state of Gymnasium's cart and pole under any force."""
    world.force_mag = float(u[0])
    world.reset()
    world.state = np.array(x)
    world.step(1)
    return np.array(world.state)


def test_lqr_balances_gymnasiums_cart_pole() -> None:
    """All 500 steps in 10 of 10 seeds, made by central differences of its step."""
    model = gym.make("CartPole-v1").unwrapped
    a, b = LQR.linearise(lambda x, u: cart_pole_step(model, x, u), np.zeros(4), np.zeros(1))
    regulator = LQR(a, b, [1.0, 0.1, 10.0, 0.1], [0.1], choices=[-10.0, 10.0])
    assert [evaluate(regulator, gym.make("CartPole-v1"), 1, seed)[0] for seed in range(10)] == [500.0] * 10
    assert np.allclose(regulator.gain, LQR.for_cart_pole(CartPole()).gain, rtol=1e-6)


def test_lqr_is_made_for_a_world_as_it_is() -> None:
    """Of another cart and pole, another regulator: that of its linearised step."""
    world, plain = CartPole(gravity=5.0, pole=0.3, length=1.0), gym.make("CartPole-v1").unwrapped
    changed: Any = plain
    changed.gravity, changed.masspole, changed.length = 5.0, 0.3, 1.0
    changed.total_mass, changed.polemass_length = 1.3, 0.3
    a, b = LQR.linearise(lambda x, u: cart_pole_step(changed, x, u), np.zeros(4), np.zeros(1))
    expected = LQR(a, b, [1.0, 0.1, 10.0, 0.1], [0.1]).gain
    np.testing.assert_allclose(LQR.for_cart_pole(world).gain, expected, rtol=1e-6)
    assert np.mean(evaluate(LQR.for_cart_pole(world), world, 5)) == 500.0


def test_lqr_is_optimal() -> None:
    """The Riccati matrix is the cost to come, no other gain is cheaper, and the closed loop is stable."""
    rng = np.random.default_rng(2)
    a, b = np.eye(3) + 0.3 * rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    q, r = np.diag([1.0, 2.0, 0.5]), np.array([[1.0, 0.2], [0.2, 0.5]])
    regulator = LQR(a, b, [1.0, 2.0, 0.5], r, x0=[0.1, -0.2, 0.3], u0=[0.5, 0.0])

    def cost(gain: Floats) -> float:
        x, total = np.array([1.0, -1.0, 0.5]), 0.0
        for _ in range(400):
            u = -gain @ x
            total, x = total + x @ q @ x + u @ r @ u, a @ x + b @ u
        return float(total)

    start = np.array([1.0, -1.0, 0.5])
    best = cost(regulator.gain)
    assert best == pytest.approx(start @ regulator.riccati @ start, rel=1e-9)
    assert all(cost(regulator.gain + 0.02 * rng.normal(size=(2, 3))) > best for _ in range(10))
    assert np.abs(np.linalg.eigvals(a - b @ regulator.gain)).max() < 1.0
    expected = [0.5, 0.0] - regulator.gain @ (start - [0.1, -0.2, 0.3])
    np.testing.assert_allclose(regulator.act(start), expected, rtol=1e-6)


def test_linearise_finds_a_linear_system() -> None:
    """Its own matrices; and the derivative of what is not linear where it is asked for."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    found = LQR.linearise(lambda x, u: a @ x + b @ u, rng.normal(size=3), rng.normal(size=2))
    np.testing.assert_allclose(found[0], a, atol=1e-9)
    np.testing.assert_allclose(found[1], b, atol=1e-9)
    da, db = LQR.linearise(lambda x, u: np.sin(x) * u, [0.3], [2.0])
    np.testing.assert_allclose([da[0, 0], db[0, 0]], [2.0 * math.cos(0.3), math.sin(0.3)], rtol=1e-8)


# --- quadrotor -------------------------------------------------------------------------------------------------------

X, Y, YAW = np.array([[1.0, -1.0, -1.0, 1.0], [-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])


def cross(by: Floats) -> Floats:
    """Matrix of the cross product with a vector."""
    return np.array([[0.0, -by[2], by[1]], [by[2], 0.0, -by[0]], [-by[1], by[0], 0.0]])


class Twin:
    """The controller once more, from its equations, with matrices."""

    def __init__(self, model: dict[str, Any]) -> None:
        self.m, self.j, self.c = model["mass"], np.array(model["inertia"]), np.array(model["thrust"])
        self.torques = np.stack([model["arm"] * Y, -model["arm"] * X, model["drag"] * YAW])
        self.way = 1.0 - math.exp(-0.01 / model["lag"])
        self.speeds, self.integral = np.full(4, 0.5), np.zeros(3)

    def lifts(self, u: Floats) -> Floats:
        """Thrusts [N]."""
        return np.asarray(np.polyval(self.c[::-1], u), np.float64)

    def act(self, seen: Floats) -> Floats:
        """What the controller commands."""
        p, r, v, w = seen[:3], seen[3:12].reshape(3, 3), seen[12:15], seen[15:]
        a = -np.array([22.0, 22.0, 40.0]) * p - np.array([4.4, 4.4, 20.0]) * v - self.integral
        a[:2] *= min(1.0, places.MOST_SIDEWAYS / float(np.linalg.norm(a[:2])))
        force = self.m * np.array([a[0], a[1], max(a[2], -places.MOST_SINKING) + 9.81])
        size = np.linalg.norm(force)
        coupling = np.cross(w, self.j * w)
        spin = (self.torques @ self.lifts(self.speeds) - coupling) / self.j
        by, later = 0.042 * w + 0.5 * 0.042**2 * spin, w + 0.042 * spin
        angle = np.linalg.norm(by)
        k = cross(by / angle)
        r = r @ (np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * k @ k)
        x, y, along = force / size @ r
        tilt = math.atan2(math.hypot(x, y), along) / math.hypot(x, y)
        heading = math.atan2(r[1, 0], r[0, 0]) * max(r[2, 2], 0.0)
        wanted = np.array([-235.0 * tilt * y, 235.0 * tilt * x, -15.0 * heading])
        torque = self.j * (wanted - [6.5 * later[0], 6.5 * later[1], 60.0 * w[2]]) + coupling
        lifts = self.allot(torque, float(size * max(along, places.LEAST_SHARE)))
        discriminant = self.c[1] ** 2 + 4.0 * self.c[2] * (lifts - self.c[0])
        u = (-self.c[1] + np.sqrt(np.maximum(discriminant, 0.0))) / (2.0 * self.c[2])
        command = np.clip(self.speeds + (u - self.speeds) / self.way, 0.0, 1.0)
        self.speeds = self.speeds + self.way * (command - self.speeds)
        self.integral = np.clip(self.integral + 8.0 * 0.01 * p, -3.0, 3.0)
        return np.asarray(2.0 * command - 1.0)

    def allot(self, torque: Floats, lift: float) -> Floats:
        """Tilt, lift and yaw within what a step can reach."""
        part = self.torques / np.square(self.torques).sum(1, keepdims=True)
        tilt, yaw = torque[:2] @ part[:2], torque[2] * part[2]
        low = self.lifts(self.speeds * (1.0 - self.way)) - tilt
        high = self.lifts(self.speeds * (1.0 - self.way) + self.way) - tilt
        if low.max() > high.min():
            return np.asarray(tilt + (low.max() + high.min()) / 2.0)
        each = np.clip(lift / 4.0, low.max(), high.min())
        most = np.where(yaw > 0.0, high - each, each - low).min()
        return np.asarray(tilt + each + np.clip(yaw, -most, most))


@SETS
def test_quadrotor_controller_is_its_twin(model: dict[str, Any]) -> None:
    """Over flights from random starts and over noise, every branch: commands, speeds and integral, to 1e-12."""
    rng, starved, still = np.random.default_rng(0), 0, np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    for trial in range(30):
        pilot, twin = QuadrotorController(**model), Twin(model)
        env = Quadrotor(**model)
        seen = np.asarray(env.reset(seed=trial)[0], np.float64)
        for _ in range(60):
            if trial % 3 == 0:
                seen = still + np.sqrt(trial + 1.0) * rng.normal(0.0, 0.3, 18)
            expected, given = twin.act(seen), pilot.act(seen)
            np.testing.assert_allclose(given, expected.astype(np.float32), rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(pilot._action, expected, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(pilot.speeds, twin.speeds, rtol=1e-12)
            np.testing.assert_allclose(pilot._row[places.INTEGRAL : places.MASS], twin.integral, rtol=1e-12)
            twin.speeds = pilot.speeds  # a command divides rounding by a small number, and the next one again
            starved += bool(np.abs(expected).max() == 1.0)
            shown, _, terminated, truncated, _ = env.step(given)
            seen = np.asarray(shown, np.float64)
            if terminated or truncated:
                break
    assert starved > 100


def flown(env: Quadrotor, pilot: Any, starts: int) -> tuple[float, float]:
    """Share of starts held for all steps, and mean distance in the second half of these flights [m]."""
    held, off = 0, []
    for seed in range(starts):
        action, path, over = pilot.begin(env.reset(seed=seed)[0]), [], False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(action)
            action = pilot.step(observation, reward, terminated, truncated)
            path.append(np.linalg.norm(env.world[world_places.POSITION : world_places.POSITION + 3]))
            over = terminated or truncated
        if truncated and not terminated:
            held += 1
            off.append(float(np.mean(path[250:])))
    return held / starts, float(np.mean(off))


@SETS
def test_quadrotor_controller_holds_its_place(model: dict[str, Any]) -> None:
    """From at least 95 of 100 random starts, tilted by up to 90 degrees, for 5 s, to 4 cm."""
    share, off = flown(Quadrotor(**model), QuadrotorController(**model), 100)
    assert share >= 0.95 and off < 0.04


def test_quadrotor_controllers_integral_leans_into_the_wind() -> None:
    """It takes away most of what a steady wind pushes the craft aside."""
    windy = Quadrotor(**LEARNING_TO_FLY, wind=(0.03, 0.0, 0.0), limit=800)
    with_it, without = (flown(windy, QuadrotorController(**LEARNING_TO_FLY, integral=k), 5)[1] for k in (8.0, 0.0))
    assert with_it < 0.5 * without


def test_quadrotor_controller_knows_its_rotors() -> None:
    """Its model of their speeds is right, to rounding; where another action is carried out it can be told."""
    env, rng = Quadrotor(**LEARNING_TO_FLY), np.random.default_rng(0)
    pilot = QuadrotorController(**LEARNING_TO_FLY)
    action = pilot.begin(env.reset(seed=2)[0])
    for step in range(100):
        done = np.clip(action + (rng.normal(0.0, 0.1, 4) if step % 2 else 0.0), -1.0, 1.0)
        observation, *_ = env.step(done)
        speeds = env.world[world_places.ROTORS : world_places.ROTORS + 4]
        assert (np.abs(pilot.speeds - speeds).max() < 1e-6) == (step % 2 == 0)
        pilot.speeds = speeds
        action = pilot.act(observation)
    pilot.speeds = np.array([-0.1, 0.2, 1.0, 1.1])
    assert pilot.speeds.tolist() == [0.0, 0.2, 1.0, 1.0]


def test_quadrotor_controller_begins_anew_and_can_be_copied() -> None:
    """An episode does not depend on what was before; a pickle goes on identically."""
    pilot, rng = QuadrotorController(**RL_TOOLS), np.random.default_rng(1)
    shown = rng.normal(0.0, 0.3, (30, 18))
    first = [pilot.begin(shown[0]), *(pilot.act(x) for x in shown[1:])]
    again = [pilot.begin(shown[0]), *(pilot.act(x) for x in shown[1:20])]
    twin = pickle.loads(pickle.dumps(pilot))
    assert_same(first, [*again, *(twin.act(x) for x in shown[20:])])


# --- frozen copies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [ActorCritic, StreamAC])
def test_frozen_copies_act_and_leave_the_agent_alone(make: Any) -> None:
    """Greedy actions of the agent as it was; the agent learns on as a twin that nobody copied."""
    env = gym.make("CartPole-v1")
    agent, twin = (make.for_env(env, seed=1) for _ in range(2))
    for each in (agent, twin):
        list(Loop(each, gym.make("CartPole-v1"), seed=0).run(500))
    frozen, shown = Frozen(agent), list(np.random.default_rng(0).normal(0.0, 0.1, (20, 4)))
    agent.reset()
    expected = [agent.act(x) for x in shown]
    for _ in range(2):  # it does not learn
        first = frozen.begin(shown[0])
        assert [first, *(frozen.step(x, 1.0, False, False) for x in shown[1:])] == expected
    returns = [
        [e.episode_return for e in Loop(each, gym.make("CartPole-v1"), seed=3).run(500)] for each in (agent, twin)
    ]
    assert returns[0] == returns[1]
    agent.reset()
    if hasattr(agent, "save"):
        twin.reset()
        assert_same(snapshot(agent), snapshot(twin))


def test_frozen_controllers_are_theirs() -> None:
    """A controller that keeps something is copied with it, and moved on apart."""
    pilot = QuadrotorController(**LEARNING_TO_FLY)
    shown = np.random.default_rng(1).normal(0.0, 0.1, (10, 18))
    frozen = Frozen(pilot)
    moved = [frozen.step(x, 0.0, False, False) for x in shown]
    assert pilot.speeds.tolist() == [0.5] * 4
    assert_same([pilot.act(x) for x in shown], moved)


# --- limits ----------------------------------------------------------------------------------------------------------


def test_limits_bound_actions_and_their_change() -> None:
    """Entry by entry; the first action is free within the bounds."""
    limits = Limits([-1.0, 0.0], [1.0, 5.0], slew=[0.5, np.inf])
    given = [[5.0, 9.0], [-1.0, -1.0], [-1.0, 2.0], [np.inf, 3.0]]
    expected = [[1.0, 5.0], [0.5, 0.0], [0.0, 2.0], [0.5, 3.0]]
    assert [limits(np.array(x)).tolist() for x in given] == expected
    limits.reset()
    assert limits(np.array([-1.0, 0.0])).tolist() == [-1.0, 0.0]
    assert limits(np.array([0.0, 0.0], np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match=r"action is .*nan.* must be a number"):
        limits(np.array([np.nan, 0.0]))
    assert limits(np.array([1.0, 0.0])).tolist() == [0.0, 0.0]


def test_limited_agents_learn_and_keep_to_their_limits() -> None:
    """In flight and greedily, each against its own last action; the limits that were given stay as they are."""
    env, limits = gym.make("Pendulum-v1"), Limits(-1.5, 1.5, slew=0.2)
    agent = Limited(ActorCritic.for_env(env, seed=0), limits)
    action, last = agent.begin(env.reset(seed=0)[0]), None
    for _ in range(150):
        assert abs(action[0]) <= 1.5 and (last is None or abs(action[0] - last) <= 0.2 + 1e-6)
        last = action[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        agent.act(observation)
        action = agent.step(observation, float(reward), terminated, truncated)
    assert agent.agent.steps == 150
    env.observation_space.seed(0)
    greedy = [agent.act(env.observation_space.sample())[0] for _ in range(20)]
    assert np.abs(np.diff(greedy)).max() <= 0.2 + 1e-6
    agent.reset()
    assert limits(np.array([1.5])).tolist() == [1.5]


# --- bad input -------------------------------------------------------------------------------------------------------

EYE = np.eye(2)
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: PID(np.nan, 0.0, 0.0, 0.1, [0]), "kp [nan] holds a value that is not finite."),
    (lambda: PID(1.0, 0.0, 0.0, 0.0, [0]), "interval is 0.0; it must be finite and above 0."),
    (lambda: PID(1.0, 0.0, 0.0, 0.1, [0], filter_time=-1.0), "filter_time is -1.0; it must be finite and 0 or more."),
    (lambda: PID(1.0, 0.0, 0.0, 0.1, [0], tracking_time=0.0), "tracking_time is 0.0; it must be finite and above 0."),
    (lambda: PID(1.0, 0.0, 0.0, 0.1, [0], low=1.0, high=0.0), "low is 1.0 and high 0.0; low must not be above high."),
    (lambda: PID(1.0, 0.0, 0.0, 0.1, [0], choices=[]), "choices are []; they must be finite numbers"),
    (lambda: PID(1.0, 0.0, 0.0, 0.1, [0]).act([np.inf]), "observation [inf] holds a value that is not finite."),
    (lambda: LQR(EYE, [1.0, 1.0], [1, 1], [1]), "a has shape (2, 2) and b (2,); they must be (n, n) and (n, m)."),
    (lambda: LQR(EYE, [[1.0], [1.0]], [1, 1, 1], [1]), "q is [1, 1, 1]; it must be finite, of shape (2, 2) or (2,)."),
    (lambda: LQR(2 * EYE, [[1.0], [0.0]], [1, 1], [1]), "there is no regulator for this system and these costs"),
    (lambda: LQR([[1.0]], [[1.0]], [1], [1], x0=[0, 0]), "x0 has shape (2,); it must have 1 numbers."),
    (lambda: LQR([[1.0]], [[1.0]], [1], [1]).act([0, 0]), "observation has shape (2,); it must have 1 numbers."),
    (lambda: LQR.linearise(lambda x, u: x, [0.0], [0.0], step=0.0), "step is 0.0; it must be finite and above 0."),
    (lambda: QuadrotorController(**{**RL_TOOLS, "mass": 0.0}), "mass is 0.0; it must be finite and above 0."),
    (lambda: QuadrotorController(**{**RL_TOOLS, "inertia": 1.0}), "inertia has shape (); it must have 3 numbers."),
    (lambda: QuadrotorController(**{**RL_TOOLS, "thrust": (1, 1, 0)}), "it must be above 0 in its last entry."),
    (lambda: QuadrotorController(**{**RL_TOOLS, "inertia": (1, 0, 1)}), "inertia is (1, 0, 1); it must be above 0."),
    (lambda: QuadrotorController(**RL_TOOLS, rotors=1.5), "rotors is 1.5; it must be 0 to 1."),
    (lambda: QuadrotorController(**RL_TOOLS, ahead=-1.0), "ahead is -1.0; it must be finite and 0 or more."),
    (lambda: QuadrotorController(**RL_TOOLS).act(np.zeros(17)), "observation has shape (17,); it must have 18"),
    (lambda: Limits(1.0, 0.0), "low is 1.0 and high 0.0; low must not be above high."),
    (lambda: Limits(0.0, 1.0, slew=0.0), "slew is 0.0; it must be above 0."),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_arguments_are_refused(make: Callable[[], Any], message: str) -> None:
    """The error says what came and what is wanted."""
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_a_refused_observation_changes_nothing() -> None:
    """The controllers go on as a twin that never saw it."""
    rng = np.random.default_rng(0)
    controllers: list[tuple[Any, int]] = [
        (PID(1.0, 1.0, 1.0, 0.1, [0]), 2), (QuadrotorController(**RL_TOOLS), 18),
    ]  # fmt: skip
    for controller, n in controllers:
        controller.act(rng.normal(size=n))
        twin = copy.deepcopy(controller)
        with pytest.raises(ValueError, match="not finite"):
            controller.act(np.full(n, np.nan))
        for _ in range(5):
            shown = rng.normal(size=n)
            assert_same(controller.act(shown), twin.act(shown))
