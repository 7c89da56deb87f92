"""`threefactor stream --config`: a fresh decoder or agent, for the channels that the streams have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers import ActorCritic, Decoder
from tests.test_cli import assert_refused, last_json, run
from tests.test_lsl import Pusher, jitted, lsl, outlet  # noqa: F401  (a fixture)


@jitted
def test_stream_begins_with_a_fresh_decoder(lsl: Any, tmp_path: Path) -> None:  # noqa: F811
    """The configuration says how it learns, the streams how many channels it has."""
    counts, labels, path = outlet(lsl, "raw", 5, 100.0), outlet(lsl, "told", 3, 100.0), tmp_path / "fresh.toml"
    path.write_text("seed = 4\n[decoder]\nn_hidden = 12\nlearning_rate = 0.02\n")

    def push(k: int) -> None:
        now = lsl.local_clock()
        labels.push_sample([float(k % 3), 0.0, 1.0], now)
        counts.push_sample([float(k % 3), 1, 0, 2, 1], now)

    arguments = ("stream", "--in", "raw", "--out", "cooked", "--config", path, "--json", "--seconds", 0.5)
    with Pusher(push):
        found = last_json(run(*arguments, "--reward", "told", "--save", tmp_path / "saved"))
    decoder = Decoder.load(tmp_path / "saved")
    assert found["answered"] > 20 and found["refused"] == found["refused_labels"] == 0
    assert (decoder.n_units, decoder.n_out, decoder.seed, decoder.most_late) == (5, 3, 4, 200)
    assert (decoder.settings.n_hidden, decoder.settings.learning_rate) == (12, 0.02)
    untrained = Decoder(5, 3, 4, n_hidden=12).population.network.w_out
    assert not np.array_equal(decoder.population.network.w_out, untrained)


@jitted
def test_stream_begins_with_a_fresh_agent(lsl: Any, tmp_path: Path) -> None:  # noqa: F811
    """Of as many actions as the configuration says, in its bounds."""
    seen, path = outlet(lsl, "fresh-seen", 3, 100.0), tmp_path / "fresh.toml"
    path.write_text("n_out = 2\nlow = -0.5\nhigh = 2.0\n[agent]\nn_hidden = 8\n")
    arguments = ("stream", "--in", "fresh-seen", "--out", "fresh-acts", "--config", path, "--json", "--seconds", 0.3)
    with Pusher(lambda k: seen.push_sample([k % 3, 1.0, 0.0])):
        last_json(run(*arguments, "--save", tmp_path / "saved"))
    agent = ActorCritic.load(tmp_path / "saved")
    space = agent.actions.space
    assert (agent.n_observation, space.shape, agent.settings.n_hidden) == (3, (2,), 8)
    assert (space.low.tolist(), space.high.tolist()) == ([-0.5] * 2, [2.0] * 2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ("one of the tables",)), ("[agent]\n[decoder]", ("one of the tables",)), ("[decoder", ("not valid TOML",)),
        ("units = 3\n[decoder]", ("unknown setting 'units'",)), ("n_out = 0\n[decoder]", ("n_out",)),
        ("[decoder]", ("give n_out",)), ("n_out = 2\n[decoder]\nneurons = 3", ("unknown setting 'neurons'",)),
        ("n_out = 2\n[decoder]\nmost_late = -1", ("most_late is -1",)), ("[agent]", ("give n_out",)),
        ("n_out = 2\nlow = 1.0\n[agent]", ("low below high",)), ("n_out = 2\nhigh = inf\n[agent]", ("finite",)),
        ("n_out = 2\n[agent]\nn_hidden = 'many'", ("n_hidden",)), ("seed = -1\n[decoder]", ("seed",)),
    ],
)  # fmt: skip
def test_stream_refuses_configurations(lsl: Any, tmp_path: Path, content: str, words: tuple[str, ...]) -> None:  # noqa: F811
    """Exit code 2, and what is wrong."""
    sender, path = outlet(lsl, "to-configure"), tmp_path / "fresh.toml"
    path.write_text(content)
    assert_refused(run("stream", "--in", "to-configure", "--out", "x", "--wait", 2, "--config", path), *words)
    del sender


def test_stream_wants_one_of_checkpoint_and_configuration(tmp_path: Path) -> None:
    """Not both, not neither; a file that is there."""
    given = ("stream", "--in", "a", "--out", "x")
    assert_refused(run(*given), "one of --checkpoint and --config")
    assert_refused(run(*given, "--checkpoint", tmp_path, "--config", tmp_path), "one of --checkpoint and --config")
    assert_refused(run(*given, "--config", tmp_path / "absent.toml"), "absent.toml")
