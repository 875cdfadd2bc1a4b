"""`sgear anticipate`: a table, JSON lines, or a video."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table
from rich.text import Text

from sgear.anticipator import choose_device, load
from sgear.cli.terminal import open_screen, say, warn, write_out
from sgear.errors import ConfigError, SgearError
from sgear.files import require_regular_file, visible
from sgear.forecast import Forecast
from sgear.prototypes.language import OFFLINE_ENCODER
from sgear.video.find import needs_rate
from sgear.video.overlay import require_overlay_place, write_overlay
from sgear.video.pool import open_video


def _table(video: Path, forecasts: list[Forecast], top_k: int) -> Table:
    if forecasts[0].later:
        return _ahead_table(video, forecasts)
    table = Table(title=f"{video.name}: what happens {forecasts[0].tau_a_s:g} s later")
    table.add_column("now (s)", justify="right")
    for rank in range(1, min(top_k, len(forecasts[0].top)) + 1):
        table.add_column(f"{rank}")
    for forecast in forecasts:
        table.add_row(f"{forecast.now_s:.1f}", *map(_cell, forecast.top))
    return table


def _ahead_table(video: Path, forecasts: list[Forecast]) -> Table:
    """Show the most likely action of each predicted step; the further ones are in the JSON."""
    table = Table(title=f"{video.name}: the most likely action, and those that follow it")
    table.add_column("now (s)", justify="right")
    for ahead_s in (forecasts[0].tau_a_s, *(step.ahead_s for step in forecasts[0].later)):
        table.add_column(f"{ahead_s:g} s later")
    for forecast in forecasts:
        tops = (forecast.top, *(step.top for step in forecast.later))
        table.add_row(f"{forecast.now_s:.1f}", *(_cell(top[0]) for top in tops))
    return table


def _cell(guess: tuple[str, float]) -> Text:
    name, probability = guess
    return Text.assemble(visible(name), (f" {100 * probability:.0f}%", "dim"))


def _names(path: Path) -> list[str]:
    """Return the names in a file, one a line; blank lines are left out."""
    require_regular_file(path, ConfigError, "It lists the actions to name, one a line.")
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as err:
        raise ConfigError(f"--actions {path}: not a text in UTF-8 ({err.reason})") from err
    return [name for name in names if name]


def run_anticipate(
    video: Path,
    model: Path,
    *,
    every_s: float,
    top_k: int,
    as_json: bool,
    out: Path | None,
    device: str = "auto",
    frame_fps: float | None = None,
    steps_ahead: int = 1,
    actions: Path | None = None,
    encoder: str = OFFLINE_ENCODER,
) -> None:
    """Forecast all through a video, print it, and draw it where `out` is given.

    Raises:
        SgearError: If an option is wrong or has no effect, or model or video cannot be read.
    """
    if out is not None:
        if out.suffix.lower() != ".mp4":
            raise SgearError(f"--out {out}: the video is written as mp4; give a name that ends in .mp4")
        require_overlay_place(video, out)
    place = choose_device(device)
    if frame_fps is not None and not needs_rate(video):
        raise ConfigError(f"--frame-fps has no effect: {video} is no folder and no tar file of images")
    if actions is None and encoder != OFFLINE_ENCODER:
        raise ConfigError("--encoder has no effect without --actions")
    trained = load(model, device=place, actions=_names(actions) if actions else (), encoder=encoder)
    forecasts = []
    with open_video(video, frame_fps=frame_fps) as opened:
        warn((f"{video}: {caveat}" for caveat in opened.caveats()), screen=open_screen(stderr=True))
        for forecast in trained.anticipate(opened, every_s=every_s, top_k=top_k, steps_ahead=steps_ahead):
            forecasts.append(forecast)
            if as_json:
                write_out(json.dumps({"video": video.name, **forecast.to_dict()}) + "\n")
        if not as_json:
            open_screen().print(_table(video, forecasts, top_k))
        if out is not None:
            write_overlay(opened, out, forecasts, top_k=top_k)
            say(f"wrote {out}", screen=open_screen(stderr=True))
