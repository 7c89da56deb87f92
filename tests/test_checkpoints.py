"""Checkpoints: what is loaded goes on; what is damaged, foreign or of another kind is refused; writes are safe."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from safetensors.numpy import save_file

from controllers import ActorCritic, Decoder
from tests.checks import assert_same, play, snapshot
from threefactor import CheckpointError, Network
from threefactor.checkpoints import FORMAT, _checksum, load_checkpoint, save_checkpoint, write_atomically

NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {}, "double": {"dtype": "float64"}, "stack": {"n_hidden": (6, 5), "n_adaptive": (2, 0), "bias": True},
    "everything": {
        "n_adaptive": 3, "optimiser": "adam", "exact_reset": True, "rate_strength": 1.0, "rate_trace_tau": 5.0,
        "feedback": "adaptive", "refractory": 2.0, "readout": "softmax", "tag_decay": 0.9,
    },
    "intentional": {"optimiser": "intentional", "tag_decay": 0.9, "feedback": "adaptive", "n_adaptive": 3},
    "masked": {"masks": {"w_in": np.eye(8, 4)}}, "whole_rate": {"rate_strength": 1.0, "rate_tau": float("inf")},
}  # fmt: skip


def network(name: str = "everything") -> Network:
    """A network amid its work, a tick pending and its slope set by hand."""
    net = Network(**{"n_in": 4, "n_hidden": 8, "n_out": 2, "learning_rate": 0.05, "w_in_scale": 2.0, **NETWORKS[name]})
    drive(net, 0, 30)
    net.slope, net.learning_rate = 3.5, 0.01
    net.step(np.ones(4))
    return net


def agent(box: bool = False) -> ActorCritic:
    """An agent amid an episode."""
    space = Box(-1.0, 2.0, (2,)) if box else Discrete(3, start=1)
    found = ActorCritic(4, space, 2, n_hidden=12, slope_schedule={"rule": "self_ranging"}, recurrent=True)
    play(found, range(40))
    return found


def drive(net: Network, start: int, stop: int) -> list[float]:
    """Ticks of learning by tags and updates, and what they show."""
    shown = []
    for t in range(start, stop):
        rng = np.random.default_rng(t)
        y = net.step((rng.random(4) < 0.5).astype(float))
        shown += y.tolist()
        net.tag(y - rng.random(2))
        net.update(rng.normal())
    return shown


@pytest.mark.parametrize("through", ["file", "pickle"])
@pytest.mark.parametrize("name", NETWORKS)
def test_network_goes_on_from_where_it_was(name: str, through: str, tmp_path: Path) -> None:
    """State, table, settings, run-time values and masks come back; the run goes on to the last bit, then resets."""
    net = network(name)
    if through == "file":
        net.save(tmp_path / "deep" / "folder" / "net")
        loaded = Network.load(tmp_path / "deep" / "folder" / "net")
    else:
        loaded = pickle.loads(pickle.dumps(net))
    assert_same(net.__getstate__(), loaded.__getstate__())
    assert (loaded.slope, loaded.learning_rate) == (net.slope, net.learning_rate) and repr(loaded) == repr(net)
    assert drive(net, 50, 80) == drive(loaded, 50, 80)
    for each in (net, loaded):
        each.reset()
    assert_same(net.__getstate__(), loaded.__getstate__())


def test_loading_shares_nothing(tmp_path: Path) -> None:
    """Neither the file nor the saved network follows what the loaded one does."""
    net = network()
    net.save(tmp_path / "net")
    before, content = net.state.copy(), (tmp_path / "net").read_bytes()
    drive(Network.load(tmp_path / "net"), 0, 5)
    drive(pickle.loads(pickle.dumps(net)), 0, 5)
    np.testing.assert_array_equal(net.state, before)
    assert (tmp_path / "net").read_bytes() == content


# --- files that are not what they should be --------------------------------------------------------------------------

LOADERS: dict[str, tuple[Callable[[], Any], Callable[[Path], Any]]] = {
    "Network": (network, Network.load), "ActorCritic": (agent, ActorCritic.load),
}  # fmt: skip


@pytest.fixture(params=LOADERS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Callable[[Path], Any], Path]:
    """Kind, loader and file of a checkpoint."""
    make, load = LOADERS[request.param]
    make().save(tmp_path / "kept")
    return request.param, load, tmp_path / "kept"


Kept = tuple[str, Callable[[Path], Any], Path]


def test_missing_files_are_named(kept: Kept) -> None:
    """No such file, or a folder in its place, is a FileNotFoundError that names it."""
    _, load, path = kept
    for absent in (path.with_name("absent"), path.parent):
        with pytest.raises(FileNotFoundError, match=str(absent)):
            load(absent)


def test_truncated_files_are_refused(kept: Kept) -> None:
    """Cut anywhere, or with something behind, a checkpoint is refused by name."""
    _, load, path = kept
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 4, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="kept"):
            load(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(CheckpointError, match="kept"):
        load(path)


def test_a_flipped_bit_anywhere_is_found(kept: Kept) -> None:
    """One bit flipped in lengths, description or arrays: a CheckpointError, or without any effect."""
    _, load, path = kept
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    expected = load(path).__getstate__()
    undetected = []
    for place in (*range(0, header, 7), *np.linspace(header, len(whole) - 1, 60).astype(int)):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1
        path.write_bytes(spoilt)
        try:
            assert_same(load(path).__getstate__(), expected)
        except CheckpointError:
            continue
        except (Exception, AssertionError) as error:
            undetected.append((place, whole[max(0, place - 12) : place + 8], repr(error)[:80]))
    assert not undetected, f"{len(undetected)} flips passed as checkpoints, such as {undetected[:3]}"


def test_foreign_files_are_refused(kept: Kept) -> None:
    """Random bytes, pickles, npz files and other people's safetensors are no checkpoints."""
    _, load, path = kept
    rng = np.random.default_rng(0)
    for content in (rng.bytes(5000), b"{}", pickle.dumps({"a": 1}), b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="kept"):
            load(path)
    for metadata in (None, {"format": "pt"}):
        save_file({"state": np.zeros(3, np.float32)}, path, metadata)
        with pytest.raises(CheckpointError, match="format"):
            load(path)


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    """An agent is no network and a network is no agent; the error says what the file is."""
    network().save(tmp_path / "net")
    agent().save(tmp_path / "agent")
    with pytest.raises(CheckpointError, match="of Network, not of ActorCritic"):
        ActorCritic.load(tmp_path / "net")
    with pytest.raises(CheckpointError, match="of ActorCritic, not of Network"):
        Network.load(tmp_path / "agent")


def rewrite(path: Path, arrays: dict[str, Any], kind: str, about: Any, **metadata: str) -> None:
    """Write what passes for a checkpoint with a right checksum, but for `metadata`."""
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    described = json.dumps(about, sort_keys=True)
    checksum = str(_checksum(kind, described, kept))
    fields = {"format": FORMAT, "kind": kind, "about": described, "checksum": checksum}
    save_checkpoint(path, kind, kept, about)
    if metadata:
        save_file(kept, path, fields | metadata)


def test_other_versions_are_refused(kept: Kept) -> None:
    """A format of another version is named, with the one that can be read."""
    kind, load, path = kept
    arrays, about = load_checkpoint(path, kind)
    rewrite(path, arrays, kind, about, format="threefactor-0")
    with pytest.raises(CheckpointError, match=f"threefactor-0.*{FORMAT}"):
        load(path)


def test_tampered_tables_are_refused(kept: Kept) -> None:
    """A table that would send kernels elsewhere in memory is refused, entry by entry, whatever the checksum says."""
    kind, load, path = kept
    arrays, about = load_checkpoint(path, kind)
    name = "table" if kind == "Network" else "critic.table"
    for entry in (0, 5, 23, 40, 41, 100, len(arrays[name]) - 8):
        table = arrays[name].copy()
        table[entry] += 10**6
        rewrite(path, {**arrays, name: table}, kind, about)
        with pytest.raises(CheckpointError, match=r"layout|version"):
            load(path)


def test_missing_and_misshapen_arrays_are_refused(kept: Kept) -> None:
    """Each array must be there, in its shape and type; the error names it."""
    kind, load, path = kept
    arrays, about = load_checkpoint(path, kind)
    for name, array in arrays.items():
        short = name.split(".")[-1]
        others = {k: a for k, a in arrays.items() if k != name}
        for spoilt in (others, {**others, name: array[:-1]}, {**others, name: np.zeros(array.shape, np.float16)}):
            rewrite(path, spoilt, kind, about)
            with pytest.raises(CheckpointError, match=short):
                load(path)


def test_descriptions_that_do_not_fit_are_refused(kept: Kept) -> None:
    """Missing entries, unknown and impossible settings are a CheckpointError, not whatever trips over them first."""
    kind, load, path = kept
    arrays, about = load_checkpoint(path, kind)
    wrong = [{}, [], None, {**about, "settings": {**about["settings"], "n_hiden": 3}}, {**about, "settings": None}]
    wrong += [{k: v for k, v in about.items() if k != name} for name in about]
    wrong += [{**about, "settings": {**about["settings"], "slope": -1.0}}]
    for spoilt in wrong:
        rewrite(path, arrays, kind, spoilt)
        with pytest.raises(CheckpointError):
            load(path)


def test_put_changes_nothing_when_it_refuses() -> None:
    """A network that is handed arrays of another, or spoilt ones, is as before and goes on."""
    net, twin = network(), network()
    table = net.table.copy()
    table[30] += 1
    for arrays in (
        {"state": np.zeros_like(net.state)},
        {"table": net.table},
        {"state": np.zeros_like(net.state), "table": table},
        {"state": net.state[:-1], "table": net.table},
        network("plain").__getstate__(),
    ):
        before = net.state.copy(), net.table.copy()
        with pytest.raises(CheckpointError):
            net.put(arrays)
        np.testing.assert_array_equal(net.state, before[0])
        np.testing.assert_array_equal(net.table, before[1])
    assert drive(net, 0, 20) == drive(twin, 0, 20)


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", ["fsync", "write", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failing_write_leaves_the_old_file(
    kept: Kept, failing: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails while it is written, the old checkpoint stands, no other file is left, and a new try works."""
    _, load, path = kept
    content, state = path.read_bytes(), snapshot(load(path))
    newer = load(path)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        if failing == "write":
            patch.setattr("threefactor.checkpoints.os.fdopen", lambda handle, mode: _Full(handle, error))
        else:
            patch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[failing], fail)
        with pytest.raises(type(error)):
            newer.save(path)
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]
    assert_same(snapshot(load(path)), state)
    newer.save(path)


class _Full:
    """A file that fails when it is written to."""

    def __init__(self, handle: int, error: BaseException) -> None:
        self.handle, self.error = handle, error

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.handle)

    def write(self, content: bytes) -> None:
        raise self.error


def test_writing_makes_folders_and_replaces(tmp_path: Path) -> None:
    """Missing folders are made; a second write replaces the first; nothing else is left."""
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]


def test_only_what_is_not_kept_may_be_given(tmp_path: Path) -> None:
    """A teacher to a student; nothing to a decoder."""
    Decoder(3, 1).save(tmp_path / "decoder")
    with pytest.raises(TypeError, match="teacher"):
        Decoder.load(tmp_path / "decoder", teacher=None)
    assert Decoder.load(tmp_path / "decoder").n_units == 3
