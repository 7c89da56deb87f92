"""The arm's dynamics: an independent twin of its step, physics that can be worked out, its muscles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from envs import Arm
from envs import arm_dynamics as places
from envs.arm_dynamics import forward_kinematics, inverse_dynamics, inverse_kinematics, jacobian

Floats = npt.NDArray[np.float64]
FREE: dict[str, Any] = {"friction": np.zeros((2, 2)), "hold": 10**6}


def entries(row: Floats, place: int, count: int) -> Floats:
    """Some entries of a row, apart from it."""
    return row[place : place + count].copy()


def moving(env: Arm, angles: Any, rates: Any) -> Floats:
    """The row of a world that has just begun, in this state."""
    env.reset(seed=0)
    env.world[:2], env.world[2:4] = angles, rates
    return env.world


def hand(lengths: Floats, q: Any) -> Any:
    """Place of the end of a chain of links; of complex angles, too."""
    turned = np.cumsum(q)
    return np.array([lengths @ np.cos(turned), lengths @ np.sin(turned)])


def derivative(function: Any, q: Floats) -> Floats:
    """Of a function of two angles, by complex steps; the last axis is that of the angles."""
    return np.stack([function(q + 1e-30j * e).imag / 1e-30 for e in np.eye(2)], -1)


class Twin:
    """The step once more, from Lagrange's equations, in plain NumPy; parameters from the row, by name."""

    def __init__(self, row: Floats) -> None:
        self.row, self.steps, self.held = row.copy(), row[places.STEPS], row[places.HELD]
        self.q, self.w, self.a = entries(row, 0, 2), entries(row, 2, 2), entries(row, places.ACTIVATIONS, 6)
        self.lengths, self.muscular = entries(row, places.LENGTH, 2), row[places.MUSCULAR] == 1.0

    def mass(self, q: Any) -> Any:
        """Mass matrix, summed over the links from how their middles move and turn; of complex angles, too."""
        m, c = entries(self.row, places.MASS, 2), entries(self.row, places.CENTRE, 2)
        inertia, total = entries(self.row, places.INERTIA, 2), np.zeros((2, 2), np.asarray(q).dtype)
        for link, arms in enumerate((np.array([c[0], 0.0]), np.array([self.lengths[0], c[1]]))):
            turned, moves = np.cumsum(q), np.tril(np.ones((2, 2)))
            middle = np.stack([-arms * np.sin(turned), arms * np.cos(turned)]) @ moves
            total = total + m[link] * middle.T @ middle + inertia[link] * np.outer(moves[link], moves[link])
        return total

    def pull(self, q: Floats, w: Floats, a: Floats) -> Floats:
        """Torques of the muscles."""
        arms = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0], [1.5, 2.0], [-2.0, -1.5]]) / 100.0
        optimal = np.array([7.32, 3.26, 6.4, 4.26, 5.95, 4.04]) / 100.0
        best = np.deg2rad([[15.0, 0.0], [4.88, 0.0], [0.0, 80.86], [0.0, 109.32], [4.5, 92.96], [2.12, 91.52]])
        length = np.maximum(1.0 + (arms * (best - q)).sum(1) / optimal, 0.05)
        speed = -(arms @ w) / optimal
        by_length = np.exp(-(np.abs((length**1.93 - 1.0) / 1.03) ** 1.87))
        shortening = (-5.72 - speed) / (-5.72 + (1.38 + 2.09 * length) * np.minimum(speed, 0.0))
        shortening = np.where(speed < -5.72, 0.0, shortening)
        lengthening = (0.62 - (-3.12 + 4.21 * length - 2.67 * length**2) * speed) / (0.62 + np.abs(speed))
        force = a * by_length * np.where(speed > 0.0, lengthening, shortening) * 31.8 * [22, 12, 18, 14, 5, 10]
        return np.asarray(arms.T @ (force * entries(self.row, places.MUSCLES, 6)))

    def rate(self, state: Floats, wanted: Floats) -> Floats:
        """Derivative of q, w, a in one row."""
        q, w, a = state[:2], state[2:4], state[4:]
        curved = derivative(self.mass, q)  # dM_ij / dq_k
        christoffel = 0.5 * (curved + curved.transpose(0, 2, 1) - curved.transpose(2, 1, 0))
        to_hand = derivative(lambda angles: hand(self.lengths, angles), q)
        field = self.row[places.CURL] * np.array([[0.0, 1.0], [-1.0, 0.0]])
        force = field @ to_hand @ w + entries(self.row, places.FORCE, 2)
        torque = self.pull(q, w, a) if self.muscular else wanted * entries(self.row, places.TORQUE, 2)
        torque = torque + to_hand.T @ force - entries(self.row, places.FRICTION, 4).reshape(2, 2) @ w
        spin = np.linalg.solve(self.mass(q), torque - np.einsum("ijk,j,k->i", christoffel, w, w))
        if not self.muscular:
            return np.concatenate([w, spin, np.zeros(6)])
        return np.concatenate([w, spin, (wanted - a) / np.where(wanted > a, 0.066 - 0.016 * wanted, 0.066)])

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool]:
        """What `env.step` gives."""
        row, wanted = self.row, np.clip(action, 0.0 if self.muscular else -1.0, 1.0)
        h = row[places.INTERVAL] / 2.0
        for _ in range(2):
            state = np.concatenate([self.q, self.w, self.a])
            k1 = self.rate(state, wanted)
            k2 = self.rate(state + h / 2.0 * k1, wanted)
            k3 = self.rate(state + h / 2.0 * k2, wanted)
            k4 = self.rate(state + h * k3, wanted)
            self.q, self.w, self.a = np.split(state + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), [2, 4])
            stopped = np.clip(self.q, np.deg2rad([-30.0, 0.0]), np.deg2rad([120.0, 150.0]))
            self.w, self.q = np.where(stopped == self.q, self.w, 0.0), stopped
        self.steps += 1.0
        place = hand(self.lengths, self.q)
        velocity = derivative(lambda angles: hand(self.lengths, angles), self.q) @ self.w
        gone = self.steps > row[places.DELAY]
        home, target = entries(row, places.HOME, 2), entries(row, places.TARGET, 2)
        away = np.linalg.norm(place - (target if gone else home))
        self.held = self.held + 1.0 if gone and away <= row[places.RADIUS] else 0.0
        reward = -10.0 * away - 0.1 * velocity @ velocity - 0.1 * np.mean(wanted**2)
        go = [float(self.steps >= row[places.DELAY])]
        seen = np.concatenate([self.q, self.w, place - home, velocity, target - home, go])
        return seen, float(reward), self.held >= row[places.HOLD], self.steps >= row[places.LIMIT]


CHANGED: dict[str, Any] = {
    "mass": (2.0, 1.5), "length": (0.33, 0.34), "centre": (0.16, 0.19), "inertia": (0.014, 0.019), "curl": 13.0,
    "force": (1.0, -2.0), "torque": (8.0, 5.0), "friction": ((0.1, 0.0), (0.05, 0.2)), "interval": 0.005,
    "radius": 0.15, "delay": (2, 6),
}  # fmt: skip
WEAK: dict[str, Any] = {"actuation": "muscle", "muscles": (1.0, 0.5, 0.0, 1.0, 2.0, 1.0), "curl": -5.0}


@pytest.mark.parametrize(
    "arguments", [{}, CHANGED, {"actuation": "muscle"}, WEAK], ids=["usual", "changed", "m", "weak"]
)
def test_same_as_the_twin(arguments: dict[str, Any]) -> None:
    """State, observation, reward and end, over random actions of several episodes, also against the stops, to 1e-12."""
    settings = {"limit": 40, "hold": 3, "delay": (10, 30), **arguments}
    env, rng, ends, stops = Arm(**settings), np.random.default_rng(1), set(), 0
    for episode in range(5):
        env.reset(seed=episode)
        env.world[2:4] = rng.normal(size=2) * 4.0
        twin, over, push = Twin(env.world), False, rng.uniform(-1.3, 1.3, env.action_space.shape)
        while not over:
            push = 0.9 * push + 0.3 * rng.normal(size=push.shape)
            seen, reward, terminated, truncated = twin.step(push)
            shown, paid, ended, cut, _ = env.step(push)
            ours = np.concatenate([twin.q, twin.w, twin.a, [twin.steps, twin.held]])
            np.testing.assert_allclose(env.world[: places.HELD + 1], ours, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(env._seen, seen, rtol=1e-12, atol=1e-12)
            assert np.array_equal(shown, env._seen.astype(np.float32))
            assert paid == pytest.approx(reward, rel=1e-12, abs=1e-12) and (ended, cut) == (terminated, truncated)
            over, stops = ended or cut, stops + int((twin.w == 0.0).any())
            ends.add((ended, cut))
    assert (False, True) in ends and (stops > 0 or arguments is CHANGED)
    assert (True, False) in ends or arguments is not CHANGED


@pytest.mark.parametrize("curl", [0.0, 13.0])
def test_a_free_arm_keeps_its_energy(curl: float) -> None:
    """Without friction and torque; the curl field bends its way and does no work, either."""
    env = Arm(curl=curl, **FREE)
    world, energies = moving(env, [0.6, 1.2], [1.5, -2.5]), []
    for _ in range(100):
        w = entries(world, places.RATES, 2)
        energies.append(0.5 * w @ Twin(world).mass(world[:2]) @ w)
        env.step(np.zeros(2))
        assert (world[:2] > places.LOWEST).all() and (world[:2] < places.HIGHEST).all()
        if world[1] < 0.2:
            break
    assert len(energies) > 30
    np.testing.assert_allclose(energies, energies[0], rtol=1e-6)


def test_friction_brakes_and_stops_are_hard() -> None:
    """A joint rests at its stop; energy falls with friction."""
    env = Arm(hold=10**6)
    world = moving(env, [0.6, 1.2], [0.0, 30.0])
    env.step(np.zeros(2))
    slowed = moving(env, [0.6, 1.2], [1.0, 1.0])
    w = entries(slowed, places.RATES, 2)
    start = w @ Twin(slowed).mass(slowed[:2]) @ w
    env.step(np.zeros(2))
    w = entries(slowed, places.RATES, 2)
    lost = start - w @ Twin(slowed).mass(slowed[:2]) @ w
    assert lost == pytest.approx(2.0 * 0.01 * 0.15, rel=0.1)  # 2 dt w B w
    world = moving(env, [0.6, 2.5], [0.0, 30.0])
    for _ in range(3):
        env.step(np.array([0.0, 1.0]))
    assert world[1] == places.HIGHEST[1] and world[3] == 0.0


def test_kinematics() -> None:
    """Forwards and back again, to the same angles; the Jacobian is the derivative; out of reach goes the nearest."""
    world, rng = Arm(length=(0.33, 0.3)).world, np.random.default_rng(0)
    lengths = np.array([0.33, 0.3])
    for _ in range(50):
        q = rng.uniform(places.LOWEST, places.HIGHEST)
        place = forward_kinematics(world, *q)
        np.testing.assert_allclose(place, hand(lengths, q), rtol=1e-12)
        np.testing.assert_allclose(inverse_kinematics(world, *place), q, rtol=1e-6, atol=1e-6)
        expected = derivative(lambda angles: hand(lengths, angles), q)
        np.testing.assert_allclose(np.reshape(jacobian(world, *q), (2, 2)), expected, rtol=1e-12, atol=1e-15)
    assert inverse_kinematics(world, 0.0, 3.0) == pytest.approx((math.pi / 2.0, 0.0))


def test_inverse_dynamics_undo_the_dynamics() -> None:
    """Torques worked out for an acceleration give that acceleration; those of the twin's equations are the same."""
    env, rng = Arm(interval=1e-6, hold=10**6), np.random.default_rng(2)
    for _ in range(20):
        q, w, wanted = rng.uniform([-0.3, 0.3], [1.8, 2.3]), rng.normal(size=2), rng.normal(size=2)
        torque = inverse_dynamics(env.world, *q, *w, *wanted)
        world = moving(env, q, w)
        np.testing.assert_allclose(
            Twin(world).rate(np.array([*q, *w, *[0.0] * 6]), np.array(torque) / 10.0)[2:4], wanted
        )
        env.step(np.array(torque) / 10.0)
        np.testing.assert_allclose((world[2:4] - w) / 1e-6, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("velocity", "push"), [((0.3, 0.0), (0.0, -1.0)), ((0.0, 0.3), (1.0, 0.0))])
def test_the_curl_field_pushes_across_and_a_force_along(velocity: Any, push: Any) -> None:
    """13 N s/m turns the way of the hand to the right; `force` acts as such a push; both at once, in flight."""
    env, gained = Arm(interval=1e-5, hold=10**6, **{"friction": np.zeros((2, 2))}), []
    for curl, force in ((0.0, (0.0, 0.0)), (13.0, (0.0, 0.0)), (0.0, 13.0 * 0.3 * np.array(push))):
        to_hand = np.reshape(jacobian(env.world, *np.radians([45.0, 90.0])), (2, 2))
        world = moving(env, np.radians([45.0, 90.0]), np.linalg.solve(to_hand, velocity))
        env.change("curl", curl)
        env.change("force", force)
        env.step(np.zeros(2))
        gained.append(entries(world, places.RATES, 2))
    assert np.abs(gained[1] - gained[0]).max() > 1e-5
    np.testing.assert_allclose(gained[1] - gained[0], gained[2] - gained[0], rtol=1e-3)
    mass = Twin(env.world).mass(np.radians([45.0, 90.0]))
    expected = 1e-5 * np.linalg.solve(mass, to_hand.T @ (13.0 * 0.3 * np.array(push)))
    np.testing.assert_allclose(gained[1] - gained[0], expected, rtol=1e-3)


def test_each_muscle_turns_its_joints() -> None:
    """Isometric at its best posture a muscle pulls with its largest force; flexors close the joints."""
    for muscle, force in enumerate(31.8 * np.array([22.0, 12.0, 18.0, 14.0, 5.0, 10.0])):
        env = Arm("muscle")
        world = moving(env, [0.5, 1.5], [0.0, 0.0])
        world[places.NOW : places.NOW + 4] = *places.OPTIMAL_ANGLE[:, muscle], 0.0, 0.0
        world[places.NOW + places.ACTIVATIONS + muscle] = 0.5
        assert places.tension(world, muscle, 0.0, 0.0) == pytest.approx(0.5 * force, rel=1e-12)
        excited = np.eye(6)[muscle]
        for _ in range(5):
            env.step(excited)
        torques = Twin(world).pull(np.array([0.5, 1.5]), np.zeros(2), excited)
        spin = np.linalg.solve(Twin(world).mass(np.array([0.5, 1.5])), torques)
        assert (np.sign(torques[torques != 0.0]) == (1.0 if muscle % 2 == 0 else -1.0)).all()
        assert world[2:4] @ spin > 0.0
        env.change("muscles", 1.0 - excited)
        assert places.tension(world, muscle, 0.0, 0.0) == 0.0


def test_muscles_shorten_no_faster_than_they_can() -> None:
    """Force falls with the speed of shortening to nothing at 5.72 lengths a second, and rises when drawn out."""
    env = Arm("muscle")
    world = moving(env, *places.OPTIMAL_ANGLE.T[:1], [0.0, 0.0])
    world[places.NOW : places.NOW + 2], world[places.NOW + places.ACTIVATIONS] = places.OPTIMAL_ANGLE[:, 0], 1.0
    forces = [
        places.tension(world, 0, -speed * 0.0732 / 0.02, 0.0) for speed in (-20.0, -5.72, -3.0, -1.0, 0.0, 1.0, 5.0)
    ]
    assert forces[0] == 0.0 and forces[1] == pytest.approx(0.0, abs=1e-9) and (np.diff(forces[1:]) > 0.0).all()
    for bent in (places.LOWEST, places.HIGHEST, np.array([places.LOWEST[0], places.HIGHEST[1]])):
        taken_in = (places.MOMENT_ARM * (bent[:, None] - places.OPTIMAL_ANGLE)).sum(0)
        assert (taken_in < 0.95 * places.OPTIMAL_LENGTH).all()  # so that the guard in `tension` does nothing


def test_activation_rises_in_50_and_falls_in_66_ms() -> None:
    """To 1 - 1/e at full excitation, and to 1/e without."""
    env = Arm("muscle", muscles=(0.0,) * 6)
    world = moving(env, [0.5, 1.5], [0.0, 0.0])
    for _ in range(5):
        env.step(np.ones(6))
    np.testing.assert_allclose(entries(world, places.ACTIVATIONS, 6), 1.0 - math.exp(-1.0), rtol=1e-5)
    env.change("interval", 0.0066)
    for _ in range(10):
        env.step(np.zeros(6))
    expected = (1.0 - math.exp(-1.0)) * math.exp(-1.0)
    np.testing.assert_allclose(entries(world, places.ACTIVATIONS, 6), expected, rtol=1e-5)
