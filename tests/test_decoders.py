"""Linear decoders against their textbook equations, on recordings whose truth is known."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from controllers import Frozen, KalmanDecoder, RecursiveLeastSquares, ReFITDecoder, WienerDecoder
from tests.checks import assert_same

Floats = npt.NDArray[np.float64]


def recorded(bins: int = 2000, units: int = 20, seed: int = 0, turn: float = 0.0) -> tuple[Floats, Floats]:
    """Counts (T, N) of cosine-tuned Poisson neurons, preferring directions turned by `turn`, and velocities (T, 2)."""
    rng = np.random.default_rng(seed)
    velocity = np.zeros((bins, 2))
    for k in range(1, bins):
        velocity[k] = 0.95 * velocity[k - 1] + 0.3 * rng.normal(size=2)
    angles = np.random.default_rng(99).uniform(0.0, 2.0 * np.pi, units) + turn
    rates = np.maximum(4.0 + 2.0 * velocity @ np.stack([np.cos(angles), np.sin(angles)]), 0.0)
    return rng.poisson(rates).astype(float), velocity


def decoded(decoder: Any, counts: Floats) -> Floats:
    """Velocities of all bins, from a reset on."""
    decoder.reset()
    return np.array([decoder.step(row) for row in counts])


def explained(found: Floats, truth: Floats) -> float:
    """Share of the variance, 1 - residual / total."""
    return 1.0 - float(np.square(found - truth).sum() / np.square(truth - truth.mean(0)).sum())


# --- Kalman ----------------------------------------------------------------------------------------------------------


def textbook(decoder: KalmanDecoder, counts: Floats) -> tuple[Floats, Floats]:
    """Velocities and last covariance of the filter as Wu et al. 2006 write it, with an inversion of N x N."""
    x, p, found = np.zeros(len(decoder.a)), decoder.covariance, []
    for z in counts:
        x, p = decoder.a @ x, decoder.a @ p @ decoder.a.T + decoder.w
        gain = p @ decoder.h.T @ np.linalg.inv(decoder.h @ p @ decoder.h.T + decoder.q)
        x = x + gain @ (z - decoder.b - decoder.h @ x)
        p = (np.eye(len(p)) - gain @ decoder.h) @ p
        found.append(x)
    return np.array(found), p


def test_kalman_is_the_textbooks() -> None:
    """Velocity and covariance of every bin, with a running gain."""
    counts, velocity = recorded()
    decoder = KalmanDecoder(steady=False).fit(counts, velocity)
    expected, covariance = textbook(decoder, counts[:200])
    np.testing.assert_allclose(decoded(decoder, counts[:200]), expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(decoder.covariance, covariance, rtol=1e-8)


def test_steady_kalman_is_what_the_running_one_settles_to() -> None:
    """The gain of the Riccati equation is the limit of the others."""
    counts, velocity = recorded()
    steady, running = (KalmanDecoder(steady).fit(counts, velocity) for steady in (True, False))
    ours, theirs = decoded(steady, counts), decoded(running, counts)
    np.testing.assert_allclose(steady.covariance, running.covariance, rtol=1e-9)
    np.testing.assert_allclose(ours[500:], theirs[500:], rtol=1e-7, atol=1e-9)
    assert np.abs(ours[0] - theirs[0]).max() > 1e-3


def test_kalman_finds_the_model() -> None:
    """How velocities move and neurons fire, of a recording that was made so."""
    rng, bins = np.random.default_rng(1), 20_000
    a, h = np.array([[0.9, 0.1], [-0.1, 0.9]]), rng.normal(size=(6, 2))
    velocity, counts = np.zeros((bins, 2)), np.zeros((bins, 6))
    for k in range(1, bins):
        velocity[k] = a @ velocity[k - 1] + 0.1 * rng.normal(size=2)
    counts[:] = 3.0 + velocity @ h.T + 0.5 * rng.normal(size=counts.shape)
    decoder = KalmanDecoder().fit(counts, velocity)
    np.testing.assert_allclose(decoder.a, a, atol=0.02)
    np.testing.assert_allclose(decoder.h, h, atol=0.1)
    np.testing.assert_allclose(decoder.b, 3.0, atol=0.02)
    np.testing.assert_allclose(decoder.w, 0.01 * np.eye(2), atol=5e-4)
    np.testing.assert_allclose(decoder.q, 0.25 * np.eye(6), atol=0.02)


@pytest.mark.parametrize("units", [20, 300])
def test_decoders_decode(units: int) -> None:
    """New bins of the same neurons; the Kalman filter better than a regression on one bin."""
    counts, velocity = recorded(4000, units)
    train, test = slice(0, 3000), slice(3000, 4000)
    decoders: list[Any] = [KalmanDecoder(), KalmanDecoder(False), WienerDecoder(5), RecursiveLeastSquares(units)]
    shares = [explained(decoded(d.fit(counts[train], velocity[train]), counts[test]), velocity[test]) for d in decoders]
    assert min(shares) > (0.7 if units == 20 else 0.95)
    assert shares[0] > shares[3] and shares[0] == pytest.approx(shares[1], abs=1e-3)


def test_kalman_bears_silent_and_equal_neurons() -> None:
    """Units that never fire, units recorded twice, more units than bins."""
    counts, velocity = recorded(400)
    for given in (np.hstack([counts, np.zeros((400, 3))]), np.hstack([counts, counts]), np.tile(counts[:30], 3)):
        decoder = KalmanDecoder().fit(given, velocity[: len(given)])
        assert explained(decoded(decoder, given), velocity[: len(given)]) > 0.7


# --- ReFIT -----------------------------------------------------------------------------------------------------------


def test_intended_velocities_point_to_the_target() -> None:
    """With the speed that there was; zero on the target; for one target of all bins or one of each."""
    rng = np.random.default_rng(0)
    velocity, position, target = rng.normal(size=(3, 50, 2))
    for aim in (target, target[0]):
        meant, way = ReFITDecoder.intended(velocity, position, aim, 1.5), aim - position
        far = np.linalg.norm(way, axis=1)
        speed = np.where(far > 1.5, np.linalg.norm(velocity, axis=1), 0.0)
        np.testing.assert_allclose(np.linalg.norm(meant, axis=1), speed, rtol=1e-12)
        np.testing.assert_allclose((meant * way).sum(1), speed * far, rtol=1e-12)
        assert 5 < (far <= 1.5).sum() < 45


def test_refit_fits_what_was_meant() -> None:
    """The neurons' part as a Kalman filter fitted to the intentions, the velocity's as it was."""
    counts, velocity = recorded()
    rng = np.random.default_rng(5)
    position, target = rng.normal(size=(2, 2000, 2))
    decoder = ReFITDecoder().fit(counts, velocity)
    a, w = decoder.a.copy(), decoder.w.copy()
    assert decoder.refit(counts, velocity, position, target, 0.3) is decoder
    expected = KalmanDecoder().fit(counts, ReFITDecoder.intended(velocity, position, target, 0.3))
    np.testing.assert_allclose(decoder.h, expected.h, rtol=1e-9)
    np.testing.assert_allclose(decoder.q, expected.q, rtol=1e-9)
    assert np.array_equal(decoder.a, a) and np.array_equal(decoder.w, w)


def reaches(decoder: Any, turn: float, bins: int, seed: int) -> tuple[list[Floats], float]:
    """Somebody steers a cursor to targets with neurons that have turned: counts, decoded, position, target; hits."""
    rng = np.random.default_rng(seed)
    angles = np.random.default_rng(99).uniform(0.0, 2.0 * np.pi, 20) + turn
    tuning, rows, hits = np.stack([np.cos(angles), np.sin(angles)]), [], 0
    place, target = np.zeros(2), np.array([5.0, 0.0])
    decoder.reset()
    for _ in range(bins):
        way = target - place
        meant = 2.0 * way / max(float(np.linalg.norm(way)), 1.0)
        counts = rng.poisson(np.maximum(4.0 + 2.0 * meant @ tuning, 0.0)).astype(float)
        velocity = decoder.step(counts)
        rows.append((counts, velocity, place, target))
        place = np.clip(place + 0.1 * velocity, -10.0, 10.0)
        if np.linalg.norm(target - place) < 0.5:
            hits, target = hits + 1, rng.uniform(-5.0, 5.0, 2)
    return [np.array(column) for column in zip(*rows, strict=True)], float(hits)


def test_refit_repairs_a_decoder_in_use() -> None:
    """Neurons that turned by a radian since the recording: after one session of use and a refit, far more hits."""
    decoder = ReFITDecoder().fit(*recorded())
    session, before = reaches(decoder, 1.0, 1500, 1)
    _, after = reaches(decoder.refit(session[0], session[1], session[2], session[3], 0.5), 1.0, 1500, 2)
    assert after > 1.3 * before > 0


# --- Wiener and recursive least squares ------------------------------------------------------------------------------


def test_wiener_is_ridge_regression_over_lags() -> None:
    """Weights that make the squared error and the ridge smallest; bins before the first are average ones."""
    counts, velocity = recorded(300, 4)
    decoder = WienerDecoder(lags=3, ridge=0.1).fit(counts, velocity)
    centred, mean = counts - counts.mean(0), velocity.mean(0)
    rows = [np.concatenate([centred[t - k] if t >= k else np.zeros(4) for k in range(3)]) for t in range(300)]
    inputs, weight = np.array(rows), 0.1 * np.square(centred).sum() / 4.0
    expected = np.linalg.solve(inputs.T @ inputs + weight * np.eye(12), inputs.T @ (velocity - mean))
    np.testing.assert_allclose(decoder.weights, expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(decoded(decoder, counts), inputs @ expected + mean, rtol=1e-8, atol=1e-10)


def taught(decoder: RecursiveLeastSquares, counts: Floats, velocity: Floats) -> RecursiveLeastSquares:
    """After it was told the velocity of each bin."""
    for z, x in zip(counts, velocity, strict=True):
        decoder.step(z)
        decoder.learn(x)
    return decoder


@pytest.mark.parametrize("forgetting", [1.0, 0.98])
def test_recursive_least_squares_solve_the_weighted_problem(forgetting: float) -> None:
    """Bin by bin, at once, and by its normal equations."""
    counts, velocity = recorded(150, 5)
    online = taught(RecursiveLeastSquares(5, 2, forgetting, ridge=2.0), counts, velocity)
    batch = RecursiveLeastSquares(5, 2, forgetting, ridge=2.0).fit(counts, velocity)
    inputs, age = np.column_stack([counts, np.ones(150)]), forgetting ** np.arange(149, -1, -1.0)
    square = (inputs * age[:, None]).T @ inputs + 2.0 * forgetting**150 * np.eye(6)
    expected = np.linalg.solve(square, (inputs * age[:, None]).T @ velocity)
    np.testing.assert_allclose(batch.weights, expected, rtol=1e-9)
    np.testing.assert_allclose(online.weights, expected, rtol=1e-7, atol=1e-9)
    for each in (online, batch):
        taught(each, counts, velocity)
    np.testing.assert_allclose(online.weights, batch.weights, rtol=1e-6, atol=1e-9)


def test_recursive_least_squares_follow_neurons_that_drift() -> None:
    """With forgetting, better than a decoder that weighs all bins alike, and than one that learns no more."""
    parts = [recorded(400, 20, seed, 0.15 * seed) for seed in range(12)]
    counts, velocity = (np.vstack(part) for part in zip(*parts, strict=True))
    shares = []
    for forgetting in (0.995, 1.0, None):
        decoder = RecursiveLeastSquares(20, 2, forgetting or 1.0).fit(counts[:400], velocity[:400])
        if forgetting is not None:
            taught(decoder, counts[400:4400], velocity[400:4400])
        shares.append(explained(decoded(decoder, counts[4400:]), velocity[4400:]))
    assert shares[0] > 0.6 > 0.3 > shares[1] > shares[2]


def test_recursive_least_squares_do_not_blow_up_where_nothing_is_shown() -> None:
    """After thousands of empty bins with fast forgetting a new bin is learnt as a first one."""
    decoder = RecursiveLeastSquares(3, 1, forgetting=0.9)
    for _ in range(3000):
        decoder.step(np.zeros(3))
        decoder.learn([0.0])
    assert np.isfinite(decoder._inverse).all() and np.abs(decoder._inverse).max() < 10.0
    decoder.step([1.0, 2.0, 0.0])
    decoder.learn([1.0])
    assert np.abs(decoder.weights).max() < 2.0


# --- all of them -----------------------------------------------------------------------------------------------------

MAKE: list[Callable[[], Any]] = [
    KalmanDecoder, lambda: KalmanDecoder(False), ReFITDecoder, lambda: WienerDecoder(4),
    lambda: RecursiveLeastSquares(20),
]  # fmt: skip


@pytest.mark.parametrize("make", MAKE)
def test_decoders_are_agents_and_can_be_copied(make: Callable[[], Any]) -> None:
    """`begin` forgets, `step` decodes whatever the reward, a pickle goes on, a frozen copy does, too."""
    counts, velocity = recorded(300)
    decoder = make().fit(counts, velocity)
    first = [decoder.begin(counts[0]), *(decoder.step(z, 1.0, False, False) for z in counts[1:50])]
    for twin in (pickle.loads(pickle.dumps(decoder)), Frozen(decoder), copy.deepcopy(decoder)):
        assert_same([twin.begin(counts[0]), *(twin.step(z) for z in counts[1:50])], first)
    before = counts.copy()
    handed = decoder.step(counts[0])
    handed[:] = np.nan  # what is handed out may be overwritten
    assert np.isfinite(decoder.step(counts[1])).all()
    assert np.array_equal(before, counts) and handed.shape == (2,)


@pytest.mark.parametrize("make", MAKE)
def test_bad_counts_change_nothing(make: Callable[[], Any]) -> None:
    """Another number of units, or a count that is no number."""
    counts, velocity = recorded(300)
    decoder = make().fit(counts, velocity)
    twin = copy.deepcopy(decoder)
    with pytest.raises(ValueError, match=re.escape("counts has shape (21,); it must have 20 numbers.")):
        decoder.step(np.zeros(21))
    with pytest.raises(ValueError, match="not finite"):
        decoder.step(np.full(20, np.nan))
    with pytest.raises(ValueError, match="they must be"):
        decoder.fit(counts, velocity[:-1])
    with pytest.raises(ValueError, match="not finite"):
        decoder.fit(counts, velocity * np.nan)
    assert_same([decoder.step(z) for z in counts[:5]], [twin.step(z) for z in counts[:5]])


TWOS, XYZ = np.ones((9, 2)), np.ones((9, 3))
REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: KalmanDecoder().step([1.0]), RuntimeError, "nothing is fitted; call fit(counts, velocity) first."),
    (lambda: WienerDecoder().step([1.0]), RuntimeError, "nothing is fitted"),
    (lambda: ReFITDecoder().refit(TWOS, TWOS, TWOS, TWOS, 0.1), RuntimeError, "nothing is fitted"),
    (lambda: KalmanDecoder().fit(np.ones((9, 2)), np.ones((9, 2))), ValueError, "velocities do not change"),
    (lambda: ReFITDecoder().fit(*recorded(99)).refit(XYZ, XYZ, XYZ, XYZ, 1), ValueError, "have 2 directions"),
    (lambda: ReFITDecoder.intended(np.ones((9, 2)), np.ones((8, 2)), [0, 0], 1.0), ValueError, "do not fit"),
    (lambda: ReFITDecoder.intended(np.ones((9, 2)), np.ones((9, 2)), [0, 0], -1.0), ValueError, "radius -1.0 below 0"),
    (lambda: WienerDecoder(lags=0), ValueError, "lags is 0; it must be a whole number, 1 or more."),
    (lambda: WienerDecoder(ridge=-1.0), ValueError, "ridge is -1.0; it must be finite and 0 or more."),
    (lambda: RecursiveLeastSquares(0), ValueError, "n_units is 0; it must be a whole number, 1 or more."),
    (lambda: RecursiveLeastSquares(2, forgetting=0.0), ValueError, "forgetting is 0.0; it must be above 0 and at most"),
    (lambda: RecursiveLeastSquares(2, ridge=0.0), ValueError, "ridge is 0.0; it must be finite and above 0."),
    (lambda: RecursiveLeastSquares(2).learn([0, 0]), RuntimeError, "call step first"),
    (lambda: RecursiveLeastSquares(2).learn([0]), ValueError, "wanted has shape (1,); it must have 2 numbers."),
    (lambda: RecursiveLeastSquares(2).fit(np.ones((5, 3)), np.ones((5, 2))), ValueError, "must be (T, 2) and (T, 2)"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_bad_use_is_refused(make: Callable[[], Any], kind: type[Exception], message: str) -> None:
    """The error says what came and what to do."""
    with pytest.raises(kind, match=re.escape(message)):
        make()


def test_least_squares_stay_sound() -> None:
    """After 40,000 bins with much forgetting, of counts that hardly differ, the weights are what they should be."""
    rng, weights = np.random.default_rng(0), np.array([[0.5], [-1.0], [0.25]])
    decoder = RecursiveLeastSquares(3, 1, forgetting=0.99)
    for _ in range(40_000):
        counts = rng.poisson(0.2) + rng.poisson(0.05, 3)
        decoder.step(counts)
        decoder.learn(counts @ weights + 0.1)
    np.testing.assert_allclose(decoder.weights[:3], weights, atol=1e-6)
    np.testing.assert_array_equal(decoder._inverse, decoder._inverse.T)
