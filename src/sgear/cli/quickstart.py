"""`sgear quickstart`: the whole job on a kitchen that renders itself, each step being a command shown on the screen.

Every step is kept: a quickstart that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from sgear.anticipator import Anticipator
from sgear.cli.data_sets import render_kitchen
from sgear.cli.report import run_report
from sgear.cli.terminal import open_screen, progress_bar, say
from sgear.datasets import Benchmark
from sgear.experiment import compose_experiment
from sgear.experiment.build import load_benchmark
from sgear.experiment.schema import DatasetConfig
from sgear.experiment.settings import hydra_override
from sgear.experiment.train import train_run, visual_prototypes
from sgear.kitchen import KitchenConfig, make_world, video_path
from sgear.models.pretrained import load_model
from sgear.prototypes import encode_taxonomy
from sgear.report import collect_video
from sgear.training.checkpoints import list_checkpoints
from sgear.training.run import RunDirectory
from sgear.video.overlay import write_overlay

FORECAST_EVERY_S = 0.5


class _Steps:
    """Says what is done, with the command that does it, and how long it took."""

    def __init__(self) -> None:
        self._screen = open_screen()
        self._start_s = time.monotonic()

    def begin(self, text: str, *command: object) -> None:
        """Announce a step, with the words of its command."""
        minutes, seconds = divmod(int(time.monotonic() - self._start_s), 60)
        say(f"\n[{minutes}:{seconds:02d}] {text}", style="bold", screen=self._screen)
        if command:
            say(f"  {shlex.join(['sgear', *map(str, command)])}", style="dim", screen=self._screen)

    def say(self, text: str) -> None:
        """Print a line of a step."""
        say(f"  {text}", screen=self._screen)


def _train(steps: _Steps, experiment: str, out: Path, seed: int, text: str) -> Path:
    settings = {"experiment": experiment, "output_root": out, "dataset.root": out / "kitchen", "seed": seed}
    overrides = [hydra_override(key, value) for key, value in settings.items()]
    steps.begin(text, "train", *overrides)
    config = compose_experiment(overrides)
    run = RunDirectory(out / config.name)
    if run.report.is_file():
        steps.say(f"done before, in {run.path}")
        return run.path
    if list_checkpoints(run.checkpoints):
        config = compose_experiment([*overrides, "runtime.resume=true"])
    return train_run(config, steps.say).path


def _draw_video(steps: _Steps, root: Path, benchmark: Benchmark, run: Path, out: Path, seed: int):
    """Forecast through one validation video of an unseen participant; return what the report draws of it."""
    unseen = benchmark.validation.column("participant_id").astype(str)
    rows = [row for row, person in enumerate(unseen) if person in benchmark.unseen_participants]
    video_id = str(benchmark.validation.column("video_id")[rows[0]])
    video = video_path(root, make_world(KitchenConfig(seed=seed)).video(video_id))
    steps.begin(
        "Forecast through a video of somebody never seen in training",
        *("anticipate", video, "--model", run, "--every", FORECAST_EVERY_S, "--out", out),
    )
    trained = load_model(RunDirectory(run).model)
    drawn = collect_video(benchmark, video_id, Anticipator(trained).anticipate(video, every_s=FORECAST_EVERY_S))
    with progress_bar("drawing the video") as progress:
        write_overlay(video, out, drawn.forecasts, truth=drawn.truth, progress=progress)
    return drawn


def run_quickstart(out: Path, seed: int) -> None:
    """Render, train, evaluate, report, and draw the forecast over a video."""
    steps = _Steps()
    root = out / "kitchen"
    steps.begin("Render a kitchen: videos whose law is known", "data", "kitchen", root, "--seed", seed)
    render_kitchen(root, KitchenConfig(seed=seed))
    benchmark = load_benchmark(DatasetConfig(name="kitchen", root=str(root)))

    language = out / "kitchen-language.safetensors"
    steps.begin(
        "Embed the class names: language prototypes",
        *("prototypes", "language", "--dataset", "kitchen", "--root", root, "--out", language),
    )
    encode_taxonomy(benchmark.taxonomy).save(language)
    recognition = _train(steps, "kitchen/recognition", out, seed, "Learn to recognise actions from pixels (stage 1)")
    visual = out / "kitchen-visual.safetensors"
    steps.begin("Average what was learnt: visual prototypes", "prototypes", "visual", recognition, "--out", visual)
    visual_prototypes(recognition, visual)
    avt = _train(steps, "kitchen/avt", out, seed, "Learn to anticipate: AVT, the baseline")
    sgear = _train(steps, "kitchen/sgear", out, seed, "Learn to anticipate: S-GEAR (stage 2)")

    video_out, report = out / "forecast.mp4", out / "report.html"
    video = _draw_video(steps, root, benchmark, sgear, video_out, seed)
    steps.begin("Report", "report", avt, sgear, "--out", report)
    run_report([avt, sgear], report, video=video)
    steps.begin("Done")
    steps.say(f"open {report} and {video_out}")
