"""Networks abreast: each does, digit by digit, what it does alone; one that is taken out goes on as if it had been."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from tests.test_engine_twin import BASE, COMPILED, LEARN, N_IN, N_OUT
from threefactor import CheckpointError, Network, Networks
from threefactor import layout as at

pytestmark = pytest.mark.skipif(not COMPILED, reason="lanes are the compiler's")
SMALL: dict[str, Any] = {"n_in": 5, "n_hidden": 12, "n_out": 2, "threshold": 0.5, "w_in_scale": 1.5, "tag_decay": 0.8}
DENSE = {"clip_value": 1e9}  # which never clips, but keeps changes from waiting, as abreast none does
COUNT = 18  # one group of lanes, and a part of another


def build(case: dict[str, Any], seed: int, **more: Any) -> Network:
    """A network of the grid in tests/test_engine_twin.py, with a seed and a learning rate of its own."""
    settings = {**BASE, **case, **more, "seed": seed}
    masked = settings.pop("masked", False)
    settings["learning_rate"] = settings["learning_rate"] * (1.0 + 0.1 * seed)
    masks = {}
    if masked:
        first = Network(N_IN, n_out=N_OUT, **settings).weights
        rng = np.random.default_rng(seed)
        masks = {name: (rng.random(w.shape) < 0.7).astype(float) for name, w in first.items()}
    return Network(N_IN, n_out=N_OUT, masks=masks, **settings)


def assert_alike(one: Network, other: Network, exactly: bool = True, rtol: float = 1e-9) -> None:
    """The same weights and traces."""
    for name in ("weights", "traces", "feedback"):
        for key, array in getattr(one, name).items():
            twin = getattr(other, name)[key]
            if exactly:
                np.testing.assert_array_equal(array, twin, err_msg=f"{name} {key}")
            else:
                np.testing.assert_allclose(array, twin, rtol=rtol, atol=1e-3 * rtol, err_msg=f"{name} {key}")


@pytest.mark.parametrize("name", LEARN)
def test_each_learns_as_it_would_alone(name: str) -> None:
    """In every setting of the engine's grid; where alone nothing waits, to the last digit."""
    alone = [build(LEARN[name], seed) for seed in range(COUNT)]
    dense = all(network.table[at.DEFERS] == at.NOTHING for network in alone)
    networks, rng, spikes = Networks(alone), np.random.default_rng(0), 0.0
    for _ in range(40):
        x, error = (rng.random((COUNT, N_IN)) < 0.4) * 1.0, rng.normal(size=(COUNT, N_OUT))
        y = networks.step(x)
        expected = np.array([network.step(row) for network, row in zip(alone, x, strict=True)])
        np.testing.assert_allclose(y, expected, rtol=0.0 if dense else 1e-9, atol=0.0 if dense else 1e-12)
        spikes += networks.spikes().mean() / 40
        networks.learn(error)
        for network, row in zip(alone, error, strict=True):
            network.learn(row)
    assert spikes > 0.01
    for k in (0, 15, COUNT - 1):
        assert_alike(networks[k], alone[k], exactly=dense)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "obgd", "intentional"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_td_errors_of_their_own(optimiser: str, dtype: str) -> None:
    """Third factors, ends of episodes and tags are each network's own."""
    settings = {**SMALL, **DENSE, "optimiser": optimiser, "dtype": dtype, "learning_rate": 0.02}
    alone = [Network(**settings, seed=seed) for seed in range(COUNT)]
    networks, rng = Networks(alone), np.random.default_rng(1)
    for t in range(60):
        x, third = (rng.random((COUNT, 5)) < 0.5) * 1.0, rng.normal(size=COUNT)
        networks.step(x)
        networks.tag(np.ones((COUNT, 2)))
        networks.update(third)
        for network, row, factor in zip(alone, x, third, strict=True):
            network.step(row)
            network.tag(np.ones(2))
            network.update(factor)
        if t % 20 == 19:  # some episodes end
            over = rng.random(COUNT) < 0.5
            networks.reset(over)
            networks.clear(over)
            for network in np.array(alone)[over]:
                network.reset()
                network.clear()
    # of a row alone the compiler takes the last entries one by one, and single numbers it does not estimate the root of
    estimated = optimiser == "intentional" and dtype == "float32"
    for k in range(COUNT):
        assert_alike(networks[k], alone[k], exactly=not estimated, rtol=1e-4)


@pytest.mark.parametrize("extra", [{}, DENSE, {"tag_decay": 0.0}, {"n_adaptive": 4}], ids=str)
def test_one_taken_out_goes_on_and_may_come_back(extra: dict[str, Any]) -> None:
    """Also where its rows wait while it is alone."""
    networks = Networks(Network(**{**SMALL, **extra}, seed=seed, dtype="float64") for seed in range(3))
    rng = np.random.default_rng(2)

    def live(one: Network | None, ticks: int) -> None:
        for _ in range(ticks):
            x, error = (rng.random(5) < 0.5) * 1.0, rng.normal(size=2)
            networks.step(np.tile(x, (3, 1)))
            networks.learn(np.tile(error, (3, 1)))
            if one is not None:
                one.step(x)
                one.learn(error)

    live(None, 37)
    one = networks[1]
    live(one, 70)
    assert_alike(networks[1], one, exactly=bool(extra == DENSE))
    networks[2] = one
    assert_alike(networks[2], one, exactly=bool(extra == DENSE))
    live(one, 20)
    assert_alike(networks[2], one, exactly=bool(extra == DENSE))


def ran(networks: Networks, ticks: int = 50) -> Networks:
    """The same networks after some ticks of a life that is always the same."""
    rng = np.random.default_rng(3)
    for _ in range(ticks):
        networks.step((rng.random((len(networks), 5)) < 0.5) * 1.0)
        networks.learn(rng.normal(size=(len(networks), 2)))
    return networks


def test_kept_and_the_same_in_threads(tmp_path: Path) -> None:
    """Pickled, saved or in a thread beside others they go on as if nothing had been."""

    def fresh() -> Networks:
        return Networks(Network(**SMALL, seed=seed) for seed in range(4))

    whole = ran(ran(fresh()))
    half = ran(fresh())
    half.save(tmp_path / "half")
    for again in (pickle.loads(pickle.dumps(half)), Networks.load(tmp_path / "half")):  # our own, as the others' tests
        ran(again)
        for k in range(4):
            assert_alike(again[k], whole[k])
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda _: ran(ran(fresh())), range(4)):
            for k in range(4):
                assert_alike(found[k], whole[k])
    Network(**SMALL).save(tmp_path / "one")
    with pytest.raises(CheckpointError, match="checkpoint of Network, not of Networks"):
        Networks.load(tmp_path / "one")


def test_rates_and_slopes_of_their_own() -> None:
    """Each network's learning rate and slope may be set; one of 0 learns nothing."""
    networks = Networks(Network(**SMALL, seed=1) for _ in range(COUNT))
    networks.learning_rate, networks.slope = np.linspace(0.0, 0.1, COUNT), 2.0
    np.testing.assert_allclose(networks.learning_rate, np.linspace(0.0, 0.1, COUNT), rtol=1e-6)
    assert (networks.slope == 2.0).all()
    before = networks[0].weights["w_in"].copy()
    x = np.ones((COUNT, 5))
    for _ in range(30):
        networks.step(x)
        networks.learn(np.ones((COUNT, 2)))
    moved = [np.abs(networks[k].weights["w_in"] - before).max() for k in range(COUNT)]
    assert moved[0] == 0.0 and moved[1] > 0.0 and networks[17].learning_rate == pytest.approx(0.1)
    assert networks.y.shape == (COUNT, 2) and networks.spikes().shape == (COUNT, 12)


WRONG: dict[str, tuple[Any, str]] = {
    "shape": (lambda n: n.step(np.ones(5)), r"input has shape \(5,\), these networks take \(3, 5\)"),
    "text": (lambda n: n.step([["a"] * 5] * 3), "give real numbers"),
    "nan": (lambda n: n.step(np.where(np.arange(15).reshape(3, 5) == 12, np.nan, 1.0)), "input of network 2 holds"),
    "huge": (lambda n: n.learn(np.full((3, 2), 1e300)), "error of network 0 holds"),
    "third": (lambda n: n.update([1.0, 2.0]), "give one finite number, or 3"),
    "third_nan": (lambda n: n.update(np.nan), "give one finite number, or 3"),
    "which": (lambda n: n.reset([1, 0]), "give one truth, or an array of 3"),
    "rate": (lambda n: setattr(n, "learning_rate", -1.0), "learning_rate is -1.0"),
    "slope": (lambda n: setattr(n, "slope", [1.0, 0.0, 2.0]), "slope is"),
    "other_size": (lambda n: n.__setitem__(0, Network(**{**SMALL, "n_hidden": 13})), "differs from the others"),
    "other_type": (lambda n: n.__setitem__(0, Network(**SMALL, dtype="float64")), "differs from the others"),
    "other_time": (lambda n: n.__setitem__(0, Network(**SMALL)), "has not run as many ticks"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_changes_nothing(name: str) -> None:
    """What is refused leaves all as it was, a tick that waits for its error included."""
    networks = Networks(Network(**SMALL, seed=seed) for seed in range(3))
    networks.step(np.ones((3, 5)))
    before, (act, match) = networks[1], WRONG[name]
    weights = before.weights["w_in"].copy()
    with pytest.raises(ValueError, match=match):
        act(networks)
    np.testing.assert_array_equal(networks[1].state, before.state)
    networks.learn(np.ones((3, 2)))  # the tick still waits to be learnt from
    assert not np.array_equal(networks[1].weights["w_in"], weights)
    with pytest.raises(RuntimeError, match="call step first"):
        networks.learn(np.ones((3, 2)))


def test_what_cannot_run_in_step() -> None:
    """Nothing at all, rows that wait for spikes of their own, sequences that have to end together."""
    with pytest.raises(ValueError, match="networks is empty"):
        Networks([])
    mask = scipy.sparse.csc_array(np.ones((12, 5)))
    with pytest.raises(ValueError, match="sparse networks do not run side by side"):
        Networks([Network(**{**SMALL, "tag_decay": 0.0, "recurrent": False}, masks={"w_in": mask})])
    whole = {"rate_strength": 1.0, "rate_target": 10.0, "rate_tau": np.inf}
    networks = Networks(Network(**SMALL, **whole, seed=seed) for seed in range(2))
    with pytest.raises(ValueError, match="reset all at once"):
        networks.reset([True, False])
    networks.reset()
