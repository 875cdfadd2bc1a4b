"""`sgear anticipate`: a table, JSON lines, or a film."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sgear.errors import SgearError
from sgear.models.pretrained import load_model
from sgear.streaming.anticipate import anticipate_video
from sgear.streaming.forecast import Forecast
from sgear.training.run import RunDirectory
from sgear.video.overlay import write_overlay


def _table(video: Path, forecasts: list[Forecast], top_k: int) -> Table:
    table = Table(title=f"{video.name}: what happens {forecasts[0].tau_a_s:g} s later")
    table.add_column("now (s)", justify="right")
    for rank in range(1, min(top_k, len(forecasts[0].top)) + 1):
        table.add_column(f"{rank}")
    for forecast in forecasts:
        cells = (f"{name} [dim]{100 * probability:.0f}%[/dim]" for name, probability in forecast.top)
        table.add_row(f"{forecast.now_s:.1f}", *cells)
    return table


def run_anticipate(video: Path, model: Path, *, every_s: float, top_k: int, as_json: bool, out: Path | None) -> None:
    """Forecast all through a film, print it, and draw it where `out` is given."""
    if out is not None and out.suffix.lower() != ".mp4":
        raise SgearError(f"--out {out}: the film is written as mp4; give a name that ends in .mp4")
    trained = load_model(RunDirectory(model).require().model)
    forecasts = []
    for forecast in anticipate_video(trained, video, every_s=every_s, top_k=top_k):
        forecasts.append(forecast)
        if as_json:
            sys.stdout.write(json.dumps({"video": video.name, **forecast.to_dict()}) + "\n")
            sys.stdout.flush()
    if not as_json:
        Console().print(_table(video, forecasts, top_k))
    if out is not None:
        write_overlay(video, out, forecasts, top_k=top_k)
        Console(stderr=True).print(f"wrote {out}", highlight=False)
