"""`sgear quickstart`: the whole job on a kitchen that renders itself, each step being a command shown on the screen.

Every step is kept: a quickstart that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from sgear.cli.kitchen import render_kitchen
from sgear.cli.progress import progress_bar
from sgear.cli.report import collect_film, run_report
from sgear.config import compose_experiment
from sgear.config.build import load_benchmark
from sgear.config.schema import DatasetConfig
from sgear.datasets.benchmark import Benchmark
from sgear.datasets.kitchen import KitchenConfig, film_path, make_world
from sgear.models.pretrained import load_model
from sgear.pipeline import train_run, visual_prototypes
from sgear.prototypes import encode_taxonomy
from sgear.streaming.anticipate import anticipate_video
from sgear.training.checkpoints import list_checkpoints
from sgear.training.run import RunDirectory
from sgear.video.overlay import write_overlay

FORECAST_EVERY_S = 0.5


class _Steps:
    """Says what is done, with the command that does it, and how long it took."""

    def __init__(self) -> None:
        self.console = Console()
        self._start_s = time.monotonic()

    def begin(self, text: str, command: str) -> None:
        """Announce a step."""
        minutes, seconds = divmod(int(time.monotonic() - self._start_s), 60)
        self.console.print(f"\n[bold][{minutes}:{seconds:02d}] {text}[/bold]\n  [dim]{command}[/dim]", highlight=False)

    def say(self, text: str) -> None:
        """Print a line of a step."""
        self.console.print(f"  {text}", highlight=False)


def _train(steps: _Steps, experiment: str, out: Path, seed: int, text: str) -> Path:
    overrides = [f"experiment={experiment}", f"output_root={out}", f"dataset.root={out / 'kitchen'}", f"seed={seed}"]
    steps.begin(text, f"sgear train {' '.join(overrides)}")
    config = compose_experiment(overrides)
    run = RunDirectory(out / config.name)
    if run.report.is_file():
        steps.say(f"done before, in {run.path}")
        return run.path
    if list_checkpoints(run.checkpoints):
        config = compose_experiment([*overrides, "runtime.resume=true"])
    return train_run(config, steps.say).path


def _draw_film(steps: _Steps, root: Path, benchmark: Benchmark, run: Path, out: Path, seed: int):
    """Forecast through one validation film of an unseen participant; return what the report draws of it."""
    unseen = benchmark.validation.column("participant_id").astype(str)
    rows = [row for row, person in enumerate(unseen) if person in benchmark.unseen_participants]
    video_id = str(benchmark.validation.column("video_id")[rows[0]])
    video = film_path(root, make_world(KitchenConfig(seed=seed)).film(video_id))
    steps.begin(
        "Forecast through a film of somebody never seen in training",
        f"sgear anticipate {video} --model {run} --every {FORECAST_EVERY_S} --out {out}",
    )
    trained = load_model(RunDirectory(run).model)
    film = collect_film(benchmark, video_id, anticipate_video(trained, video, every_s=FORECAST_EVERY_S))
    with progress_bar("drawing the film") as progress:
        write_overlay(video, out, film.forecasts, truth=film.truth, progress=progress)
    return film


def run_quickstart(out: Path, seed: int) -> None:
    """Render, train, evaluate, report, and draw the forecast over a film."""
    steps = _Steps()
    root = out / "kitchen"
    steps.begin("Render a kitchen: films whose law is known", f"sgear data kitchen {root} --seed {seed}")
    render_kitchen(root, KitchenConfig(seed=seed))
    benchmark = load_benchmark(DatasetConfig(name="kitchen", root=str(root)))

    language = out / "kitchen-language.safetensors"
    steps.begin(
        "Embed the class names: language prototypes",
        f"sgear prototypes language --dataset kitchen --root {root} --out {language}",
    )
    encode_taxonomy(benchmark.taxonomy).save(language)
    recognition = _train(steps, "kitchen/recognition", out, seed, "Learn to recognise actions from pixels (stage 1)")
    visual = out / "kitchen-visual.safetensors"
    steps.begin("Average what was learnt: visual prototypes", f"sgear prototypes visual {recognition} --out {visual}")
    visual_prototypes(recognition, visual)
    avt = _train(steps, "kitchen/avt", out, seed, "Learn to anticipate: AVT, the baseline")
    sgear = _train(steps, "kitchen/sgear", out, seed, "Learn to anticipate: S-GEAR (stage 2)")

    film_out, report = out / "forecast.mp4", out / "report.html"
    film = _draw_film(steps, root, benchmark, sgear, film_out, seed)
    steps.begin("Report", f"sgear report {avt} {sgear} --out {report}")
    run_report([avt, sgear], report, film=film)
    steps.begin("Done", f"open {report} and {film_out}")
