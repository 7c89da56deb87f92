"""PID and LQR against their equations and on their worlds, and what all classical controllers refuse."""

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

from controllers import LQR, PID, Limits, QuadrotorController, evaluate
from envs import CartPole
from envs.quadrotor import RL_TOOLS
from tests.checks import assert_same

Floats = npt.NDArray[np.float64]

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
