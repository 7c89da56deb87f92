"""A geometric controller for a quadrotor whose rotors lag behind their commands, compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from controllers.frozen import Fixed, Floats, numbers, require
from threefactor._jit import entry, kernel

N_OBSERVATION = 18
MOST_SIDEWAYS = 15.5  # wanted acceleration across, at most [m/s^2]
MOST_SINKING = 3.3  # wanted acceleration downwards, at most [m/s^2]: more would let the rotors run down
LEAST_SHARE = 0.74  # of the wanted force that is asked of the rotors however the craft leans: it soon will less
MOST_INTEGRAL = 3.0  # of any axis [m/s^2]
# Places in the row that a kernel gets, each the first of its entries. What is kept from step to step:
SPEEDS, INTEGRAL = 0, 4
# The craft; WAY is the share of its way to the command that a rotor's speed goes in a step:
MASS, INERTIA, ARM, THRUST, DRAG, GRAVITY, INTERVAL, WAY = 7, 8, 11, 12, 15, 16, 17, 18
# Gains, of tilt and heading those of ATTITUDE_...:
STIFFNESS, DAMPING, GAIN, ATTITUDE_STIFFNESS, ATTITUDE_DAMPING, AHEAD = 19, 22, 25, 26, 28, 30
# What a step works with: wanted force [N] and torque [N m], the turn ahead [rad], thrusts [N]:
FORCE, TORQUE, TURN, LIFTS, SIZE = 31, 34, 37, 40, 44


@kernel
def thrust(row: Floats, speed: float) -> float:
    """Thrust of a rotor [N]: c0 + c1 u + c2 u^2."""
    lift: float = row[THRUST] + speed * (row[THRUST + 1] + speed * row[THRUST + 2])
    return lift


@kernel
def want_force(row: Floats, seen: Floats) -> float:
    """Write the wanted force on the craft but for gravity's, in the world's axes; its size.

    F = m (g e_z - stiffness p - damping v - integral), with its acceleration bounded to the sides and downwards.
    """
    for i in range(3):
        pull = row[STIFFNESS + i] * seen[i] + row[DAMPING + i] * seen[12 + i] + row[INTEGRAL + i]
        row[FORCE + i] = -pull
    across = math.hypot(row[FORCE], row[FORCE + 1])
    share = MOST_SIDEWAYS / across if across > MOST_SIDEWAYS else 1.0
    row[FORCE] *= row[MASS] * share
    row[FORCE + 1] *= row[MASS] * share
    row[FORCE + 2] = row[MASS] * (max(row[FORCE + 2], -MOST_SINKING) + row[GRAVITY])
    return math.sqrt(row[FORCE] ** 2 + row[FORCE + 1] ** 2 + row[FORCE + 2] ** 2)


@kernel
def predict(row: Floats, seen: Floats) -> tuple[float, float]:
    """Write at TURN the vector by which the body will turn in AHEAD; the rates about x and y that it will have then."""
    t0, t1 = thrust(row, row[SPEEDS]), thrust(row, row[SPEEDS + 1])
    t2, t3 = thrust(row, row[SPEEDS + 2]), thrust(row, row[SPEEDS + 3])
    p, q, r, h = seen[15], seen[16], seen[17], row[AHEAD]
    jx, jy, jz = row[INERTIA], row[INERTIA + 1], row[INERTIA + 2]
    roll = (row[ARM] * (t2 + t3 - t0 - t1) - (jz - jy) * q * r) / jx
    pitch = (row[ARM] * (t1 + t2 - t0 - t3) - (jx - jz) * r * p) / jy
    yaw = (row[DRAG] * (t1 + t3 - t0 - t2) - (jy - jx) * p * q) / jz
    row[TURN] = h * (p + 0.5 * h * roll)
    row[TURN + 1] = h * (q + 0.5 * h * pitch)
    row[TURN + 2] = h * (r + 0.5 * h * yaw)
    return p + h * roll, q + h * pitch


@kernel
def turned(row: Floats, x: float, y: float, z: float) -> tuple[float, float, float]:
    """A vector in the body's axes, as it stands in them once the body has turned by TURN: Rodrigues' formula."""
    a, b, c = row[TURN], row[TURN + 1], row[TURN + 2]
    angle = math.sqrt(a * a + b * b + c * c)
    s, v = 1.0, 0.5
    if angle > 1e-6:
        s, v = math.sin(angle) / angle, (1.0 - math.cos(angle)) / (angle * angle)
    u0, u1, u2 = c * y - b * z, a * z - c * x, b * x - a * y  # minus the cross product
    return (
        x + s * u0 + v * (c * u1 - b * u2), y + s * u1 + v * (a * u2 - c * u0), z + s * u2 + v * (b * u0 - a * u1)
    )  # fmt: skip


@kernel
def want_torque(row: Floats, seen: Floats, size: float) -> float:
    """Write the wanted torque; the cosine between the body's vertical axis and the wanted force, a moment ahead.

    tau = J (-stiffness e - damping w) + w x J w, with e for the tilt the rotation by the shortest way from the wanted
    force's direction, and for the heading its angle, which counts less the more the craft lies on its side.
    """
    later_p, later_q = predict(row, seen)
    f0, f1, f2 = row[FORCE] / size, row[FORCE + 1] / size, row[FORCE + 2] / size
    x, y, along = turned(
        row, f0 * seen[3] + f1 * seen[6] + f2 * seen[9], f0 * seen[4] + f1 * seen[7] + f2 * seen[10],
        f0 * seen[5] + f1 * seen[8] + f2 * seen[11],
    )  # fmt: skip
    across = math.hypot(x, y)
    tilt = math.atan2(across, along) / across if across > 1e-9 else 1.0
    ahead, _, _ = turned(row, seen[3], seen[4], seen[5])
    left, _, _ = turned(row, seen[6], seen[7], seen[8])
    _, _, upright = turned(row, seen[9], seen[10], seen[11])
    heading = math.atan2(left, ahead) * max(upright, 0.0)
    stiffness, damping = row[ATTITUDE_STIFFNESS], row[ATTITUDE_DAMPING]
    p, q, r = seen[15], seen[16], seen[17]
    jx, jy, jz = row[INERTIA], row[INERTIA + 1], row[INERTIA + 2]
    row[TORQUE] = jx * (-stiffness * tilt * y - damping * later_p) + (jz - jy) * q * r
    row[TORQUE + 1] = jy * (stiffness * tilt * x - damping * later_q) + (jx - jz) * r * p
    turn = -row[ATTITUDE_STIFFNESS + 1] * heading - row[ATTITUDE_DAMPING + 1] * r
    row[TORQUE + 2] = jz * turn + (jy - jx) * p * q
    return along


@kernel
def allot(row: Floats, lift: float) -> None:
    """Write the rotors' thrusts: torque for the tilt first, then lift, then yaw, as far as a step can change them."""
    least, most, room = -math.inf, math.inf, math.inf
    for i in range(4):
        ahead, left = 1.0 if i in (0, 3) else -1.0, 1.0 if i >= 2 else -1.0
        row[LIFTS + i] = (left * row[TORQUE] - ahead * row[TORQUE + 1]) / (4.0 * row[ARM])
        slowest = row[SPEEDS + i] * (1.0 - row[WAY])
        least = max(least, thrust(row, slowest) - row[LIFTS + i])
        most = min(most, thrust(row, slowest + row[WAY]) - row[LIFTS + i])
    if least > most:
        for i in range(4):
            row[LIFTS + i] += 0.5 * (least + most)
        return
    each, yaw = min(max(0.25 * lift, least), most), row[TORQUE + 2] / (4.0 * row[DRAG])
    for i in range(4):
        slowest = row[SPEEDS + i] * (1.0 - row[WAY])
        side = yaw if i % 2 else -yaw
        row[LIFTS + i] += each
        reach = (
            thrust(row, slowest + row[WAY]) - row[LIFTS + i] if side > 0.0 else row[LIFTS + i] - thrust(row, slowest)
        )
        room = min(room, reach)
    yaw = min(max(yaw, -room), room)
    for i in range(4):
        row[LIFTS + i] += yaw if i % 2 else -yaw


@kernel
def fly(row: Floats, seen: Floats, action: Floats) -> None:
    """Write the four commands in [-1, 1] for an observation; move the rotors' speeds and the integral on."""
    size = want_force(row, seen)
    along = want_torque(row, seen, size)
    allot(row, size * max(along, LEAST_SHARE))
    c0, c1, c2 = row[THRUST], row[THRUST + 1], row[THRUST + 2]
    for i in range(4):
        root = math.sqrt(max(c1 * c1 + 4.0 * c2 * (row[LIFTS + i] - c0), 0.0))
        change = (root - c1) / (2.0 * c2) - row[SPEEDS + i]
        command = min(max(row[SPEEDS + i] + change / row[WAY], 0.0), 1.0)
        row[SPEEDS + i] += row[WAY] * (command - row[SPEEDS + i])
        action[i] = 2.0 * command - 1.0
    for i in range(3):
        gained = row[INTEGRAL + i] + row[GAIN] * row[INTERVAL] * seen[i]
        row[INTEGRAL + i] = min(max(gained, -MOST_INTEGRAL), MOST_INTEGRAL)


class QuadrotorController(Fixed):
    """Holds a quadrotor at its target, or brings it back there from nearly any start.

    Position and velocity give the force that is wanted, its direction the attitude, attitude and rates the torque, as
    in Lee et al. 2010. Three things differ from there. The tilt is corrected by the shortest way and the heading apart
    from it, so that the heading never stands in the way of a recovery. Attitude and rates are those that the rotors at
    their present speeds will have led to a moment later, `ahead`. And as rotors lag behind their commands, u' =
    (command - u) / `lag`, the controller keeps a model of their speeds: it asks for the thrusts that can be had within
    a step, torque for the tilt first, then lift, then torque about the vertical axis, and commands what brings the
    rotors there in that step.

    Its observations and actions are those of `envs.Quadrotor`: position and velocity relative to the target, rotation
    matrix, rates, 18 numbers; and four speeds, -1 at rest, 1 at the top. It knows the craft as it was told: of motors
    that lose strength, payloads or winds it learns by the integral alone.

    Parameters
    ----------
    mass : float
        [kg], above 0.
    inertia : array_like, shape (3,)
        About the body's axes [kg m^2], above 0.
    arm : float
        Distance of each rotor from the middle along x and along y [m], above 0.
    thrust : array_like, shape (3,)
        c0, c1, c2 [N]: thrust of a rotor at the share u of its top speed, c0 + c1 u + c2 u^2; c2 above 0.
    drag : float
        Yaw torque of a rotor over its thrust [m], above 0.
    lag : float
        Time constant of the rotors [s], above 0.
    gravity, interval : float
        [m/s^2], and of a step [s], above 0.
    stiffness, damping : array_like, shape (3,)
        Wanted acceleration for an error of position [1/s^2] and of velocity [1/s], on the world's axes.
    integral : float
        The same for the integral of the error of position [1/s^3], 0 or more.
    attitude_stiffness, attitude_damping : array_like, shape (2,)
        Wanted acceleration for an error of attitude [1/s^2] and of rates [1/s]: of tilt, of heading.
    ahead : float
        How far the tilt is predicted [s], 0 or more.
    rotors : float
        Share of their top speed that the rotors have at first, 0 to 1.

    Attributes
    ----------
    speeds : array, float64, shape (4,)
        What the rotors' speeds should be now, in shares of their top speed, 0 to 1. They follow the commands of `act`;
        who adds to these, limits them, or measures the speeds, may set them at any time.

    Raises
    ------
    ValueError
        An argument outside its range.

    References
    ----------
    Lee, Leok, McClamroch 2010, Geometric tracking control of a quadrotor UAV on SE(3), IEEE Conf. Decision and
    Control, 5420: force, attitude and torque.

    Examples
    --------
    >>> pilot = QuadrotorController(
    ...     mass=0.027, inertia=(3.85e-6, 3.85e-6, 5.97e-6), arm=0.028, thrust=(0.0, 0.0, 0.149), drag=0.00596, lag=0.15
    ... )
    >>> upright_at_the_target = np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    >>> pilot.begin(upright_at_the_target).round(2).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(
        self, mass: float, inertia: npt.ArrayLike, arm: float, thrust: npt.ArrayLike, drag: float, lag: float,
        gravity: float = 9.81, interval: float = 0.01, *, stiffness: npt.ArrayLike = (22.0, 22.0, 40.0),
        damping: npt.ArrayLike = (4.4, 4.4, 20.0), integral: float = 8.0,
        attitude_stiffness: npt.ArrayLike = (235.0, 15.0), attitude_damping: npt.ArrayLike = (6.5, 60.0),
        ahead: float = 0.042, rotors: float = 0.5,
    ) -> None:  # fmt: skip
        positive = {"mass": mass, "arm": arm, "drag": drag, "lag": lag, "gravity": gravity, "interval": interval}
        for name, value in positive.items():
            require(name, value, 0.0 < value < math.inf, "finite and above 0")
        for name, value in {"integral": integral, "ahead": ahead}.items():
            require(name, value, 0.0 <= value < math.inf, "finite and 0 or more")
        require("rotors", rotors, 0.0 <= rotors <= 1.0, "0 to 1")
        curve, moments = numbers("thrust", thrust, 3), numbers("inertia", inertia, 3)
        require("inertia", inertia, bool((moments > 0.0).all()), "above 0")
        require("thrust", thrust, bool(curve[2] > 0.0), "above 0 in its last entry")
        self._rotors, self._row, self._action = float(rotors), np.zeros(SIZE), np.zeros(4)
        way = 1.0 - math.exp(-interval / lag)
        self._row[MASS:STIFFNESS] = mass, *moments, arm, *curve, drag, gravity, interval, way
        self._row[STIFFNESS:DAMPING] = numbers("stiffness", stiffness, 3)
        self._row[DAMPING:GAIN], self._row[GAIN] = numbers("damping", damping, 3), integral
        self._row[ATTITUDE_STIFFNESS:ATTITUDE_DAMPING] = numbers("attitude_stiffness", attitude_stiffness, 2)
        self._row[ATTITUDE_DAMPING:AHEAD] = numbers("attitude_damping", attitude_damping, 2)
        self._row[AHEAD] = ahead
        self.reset()
        self._enter = entry(fly, self._row, np.zeros(N_OBSERVATION), self._action)

    @property
    def speeds(self) -> Floats:
        """See the class; a copy."""
        return self._row[SPEEDS:INTEGRAL].copy()

    @speeds.setter
    def speeds(self, value: npt.ArrayLike) -> None:
        self._row[SPEEDS:INTEGRAL] = np.clip(numbers("speeds", value, 4), 0.0, 1.0)

    def reset(self) -> None:
        """Rotors at their first speed, nothing integrated."""
        self._row[SPEEDS:INTEGRAL], self._row[INTEGRAL:MASS] = self._rotors, 0.0

    def act(self, observation: npt.ArrayLike) -> Any:
        """Commands for the rotors, float32, shape (4,).

        Raises
        ------
        ValueError
            An observation of another size or not finite. Nothing was changed.
        """
        self._enter(self._row, numbers("observation", observation, N_OBSERVATION), self._action)
        return self._action.astype(np.float32)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: all but the machine code."""
        return {name: value for name, value in vars(self).items() if name != "_enter"}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        """Go on as the one that was copied."""
        vars(self).update(saved)
        self._enter = entry(fly, self._row, np.zeros(N_OBSERVATION), self._action)
