"""The command that decodes recordings."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from controllers import Decoder, KalmanDecoder, RecursiveLeastSquares, WienerDecoder
from threefactor.arrays import Array
from threefactor.pictures import BLUE, GREY, RED, new_figure, save_figure
from threefactor.recordings import (
    Recording,
    last_part,
    pearson,
    prequential,
    r_squared,
    read_recording,
    taps,
)
from threefactor.terminal import JSON, console, fail

app = typer.Typer()

RLS_TAPS, RLS_FORGETTING, WIENER_TAPS = 6, 0.9998, 16
SHOWN_BINS = 300  # of the figure
NAMES = {
    "decoder": "e-prop", "decoder_frozen": "e-prop, frozen", "rls": "recursive least squares", "kalman": "Kalman",
    "wiener": "Wiener", "last_label": "last label",
}  # fmt: skip


@app.command()
def decode(
    file: Annotated[Path, typer.Argument(help="Recording, npz: counts (bins, units) and velocity (bins, outputs).")],
    spikes: Annotated[str, typer.Option(help="Name of the array of counts.")] = "spikes",
    velocity: Annotated[str, typer.Option(help="Name of the array to decode.")] = "vel",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the decoder's weights, the first one.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to average over.")] = 1,
    figure: Annotated[Path | None, typer.Option(help="Picture of the decoded traces, PNG.")] = None,
    as_json: JSON = False,
) -> None:
    """Decode a recording online, each bin before it is learnt from; scores on the last 20 %, beside linear decoders.

    The frozen decoder is the same, but learns nothing in the last 20 %. "last label" repeats the velocity of the bin
    before: whoever learns from each bin can do so, too.
    """
    try:
        recording = read_recording(file, spikes, velocity)
        first = last_part(len(recording.spikes))
        with console.status("decoding"):
            decoded = dict(_all_decoders(recording, range(seed, seed + seeds)))
            scores = {name: _scores(runs, recording.velocity[first:]) for name, runs in decoded.items()}
        if figure is not None:
            _draw(figure, file.stem, velocity, recording.velocity[first:], decoded)
    except (ValueError, OSError) as error:
        fail(error)
    if as_json:
        bins, units = recording.spikes.shape
        about = {
            "file": file.name, "bins": bins, "units": units, "outputs": recording.velocity.shape[1],
            "scored_bins": bins - first, "seeds": list(range(seed, seed + seeds)),
        }  # fmt: skip
        print(json.dumps(about | {"decoders": scores}))
        return
    table = Table("decoder", *(Column(name, justify="right") for name in ("R2", "Pearson r")), show_edge=False)
    for name, score in scores.items():
        table.add_row(NAMES[name], *(f"{score[key]:.3f}" if score else "-" for key in ("r2", "pearson")))
    Console().print(table)


def _all_decoders(recording: Recording, seeds: range) -> Iterator[tuple[str, list[Array]]]:
    """Of each decoder what it makes of the last fifth, for each seed."""
    online, frozen = zip(*(_spiking(recording, seed) for seed in seeds), strict=True)
    yield "decoder", list(online)
    yield "decoder_frozen", list(frozen)
    first = last_part(len(recording.spikes))
    counts, wanted = recording.spikes, recording.velocity
    # one factor for all units keeps what a ridge is meant to be; square roots made all three of them worse
    counts = counts / (float(counts[:first].std()) or 1.0)
    mean, deviation = wanted[:first].mean(axis=0), wanted[:first].std(axis=0)
    scaled = (wanted - mean) / deviation
    inputs = taps(counts, RLS_TAPS)
    least_squares = RecursiveLeastSquares(inputs.shape[1], wanted.shape[1], forgetting=RLS_FORGETTING)
    yield "rls", [mean + deviation * prequential(least_squares, inputs, scaled)[first:]]
    for name, decoder in {"kalman": KalmanDecoder(), "wiener": WienerDecoder(WIENER_TAPS)}.items():
        try:
            decoder.fit(counts[:first], scaled[:first])
        except np.linalg.LinAlgError as error:
            console.print(f"{NAMES[name]} cannot be fitted to this recording: {escape(str(error))}", highlight=False)
            yield name, []
            continue
        decoder.reset()
        yield name, [mean + deviation * np.array([decoder.step(row) for row in counts])[first:]]
    yield "last_label", [wanted[first - 1 : -1]]


def _spiking(recording: Recording, seed: int) -> tuple[Array, Array]:
    """The last fifth, decoded by one that goes on learning, and by one that does not."""
    counts, wanted = recording.spikes, recording.velocity
    first = last_part(len(counts))
    decoder = Decoder(counts.shape[1], wanted.shape[1], seed=seed)
    prequential(decoder, counts[:first], wanted[:first])
    frozen = copy.deepcopy(decoder)
    online = prequential(decoder, counts[first:], wanted[first:])
    return online, prequential(frozen, counts[first:], wanted[first:], until=0)


def _scores(runs: list[Array], wanted: Array) -> dict[str, Any] | None:
    """Means over the runs, and the R2 of each; nothing of a decoder that could not be fitted."""
    if not runs:
        return None
    each = [r_squared(decoded, wanted) for decoded in runs]
    return {
        "r2": float(np.mean(each)), "pearson": float(np.mean([pearson(decoded, wanted) for decoded in runs])),
        "r2_of_seeds": each,
    }  # fmt: skip


def _draw(path: Path, title: str, name: str, wanted: Array, decoded: dict[str, list[Array]]) -> None:
    """Traces of the first bins of the last fifth, a row for each output."""
    outputs = wanted.shape[1]
    picture = new_figure(9.0, 1.0 + 2.0 * outputs)
    rows = picture.subplots(outputs, 1, sharex=True, squeeze=False)[:, 0]
    for k, axes in enumerate(rows):
        axes.plot(wanted[:SHOWN_BINS, k], color=GREY, linewidth=2.5, alpha=0.6, label="recorded")
        for each, colour in (("rls", RED), ("decoder", BLUE)):
            axes.plot(decoded[each][0][:SHOWN_BINS, k], color=colour, linewidth=1, label=NAMES[each])
        axes.set(ylabel=f"{name}[{k}]")
    rows[0].set(title=f"{title}, from where the last 20 % begin")
    picture.legend(*rows[0].get_legend_handles_labels(), loc="outside lower right", frameon=False, ncols=3)
    rows[-1].set(xlabel="bins")
    save_figure(picture, path)
