"""`sgear report`: collect runs, print the comparison, write the page."""

from __future__ import annotations

from pathlib import Path

from sgear.cli.comparison import print_comparison
from sgear.cli.predictions import find_run
from sgear.cli.terminal import require_page, say
from sgear.datasets import Benchmark
from sgear.experiment.build import build_protocol, load_benchmark
from sgear.experiment.compose import load_run_config
from sgear.experiment.facts import require_same_data
from sgear.experiment.moved import Places, at_places
from sgear.files import write_whole
from sgear.report import (
    ReportRun,
    Video,
    aligned_runs,
    collect_run,
    evaluated_runs,
    references_of,
    render_report,
    video_of_predictions,
)
from sgear.training.run import RunDirectory, require_one_protocol


def collect(path: Path, benchmark: Benchmark, *, root: Path | None = None) -> ReportRun:
    """Read a run of a data set, which may lie at `root` now, with the prototypes of language that it names."""
    config = at_places(load_run_config(RunDirectory(path).require().config), Places(root=root))
    file = config.init.language_prototypes
    run = collect_run(path, benchmark=benchmark, language_file=Path(file) if file else None)
    stated = {"config.yaml": build_protocol(config.protocol).to_dict(), "the predictions": run.predictions.protocol}
    require_one_protocol(path, stated)
    return run


def run_report(runs: list[Path], out: Path | None, *, video: Video | None = None, root: Path | None = None) -> None:
    """Write the report of one run, or of several side by side, and print its score table.

    Raises:
        SgearError: If a run is incomplete, runs must not be compared, or the page cannot be written there.
    """
    for path in runs:
        find_run(path).require_evaluated()
    target = RunDirectory(runs[-1]).path / "report.html" if out is None else out
    require_page(target)
    last = RunDirectory(runs[-1])
    config = at_places(load_run_config(last.config), Places(root=root))
    benchmark = load_benchmark(config.dataset)
    require_same_data(last, config, benchmark)
    collected = [collect(path, benchmark, root=root) for path in runs]
    aligned, benchmark = evaluated_runs(aligned_runs(collected, benchmark), benchmark)
    references = references_of(benchmark, aligned[-1].predictions, dataset=config.dataset.name)
    if video is None:
        video = video_of_predictions(benchmark, aligned[-1].predictions)
    write_whole(target, render_report(aligned, references, benchmark, video=video).encode())
    print_comparison(aligned, references)
    say(f"wrote {target}")
