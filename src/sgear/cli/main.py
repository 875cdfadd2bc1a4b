"""`sgear`: the verbs. Heavy imports happen inside the verbs, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sgear.cli import data, prototypes
from sgear.errors import SgearError

app = typer.Typer(
    help="Egocentric action anticipation: train, evaluate and run S-GEAR and its peers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(prototypes.app, name="prototypes")
app.add_typer(data.app, name="data")

Run = Annotated[Path, typer.Argument(help="Run directory, made by 'sgear train'.", metavar="RUN")]


@app.command()
def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Settings as key=value; start with experiment=NAME. "
            "Example: experiment=salads50/spatialcnn seed=1 optim.lr=1e-3",
            metavar="KEY=VALUE...",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the resolved settings and stop.")] = False,
) -> None:
    """Train and evaluate one experiment.

    The run directory (runs/NAME) then holds the configuration, the log, the model, the predictions and report.json.
    """
    from sgear.cli.experiment import show_experiment, train_experiment

    (show_experiment if show else train_experiment)(overrides or [])


@app.command()
def evaluate(run: Run) -> None:
    """Evaluate a trained run again on its validation split, and print the scores."""
    from sgear.cli.experiment import print_scores
    from sgear.pipeline import evaluate_run

    print_scores(evaluate_run(run))


@app.command()
def anticipate(
    video: Annotated[Path, typer.Argument(help="Any film that ffmpeg reads.", metavar="VIDEO")],
    model: Annotated[Path, typer.Option(help="Run directory of an anticipation model trained on pixels.")],
    every: Annotated[float, typer.Option(help="Seconds between two forecasts.", min=0.01)] = 1.0,
    top: Annotated[int, typer.Option(help="Number of actions in a forecast.", min=1)] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per forecast.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the film with the forecast drawn over it (mp4).")] = None,
) -> None:
    """Say what the camera wearer will do next, all through a film."""
    from sgear.cli.anticipate import run_anticipate

    run_anticipate(video, model, every_s=every, top_k=top, as_json=json, out=out)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="One or more run directories.", metavar="RUN...")],
    out: Annotated[Path | None, typer.Option(help="HTML file to write. Default: report.html in the last run.")] = None,
) -> None:
    """Draw a self-contained HTML report of one run, or of several side by side."""
    from sgear.cli.report import run_report

    run_report(runs, out)


@app.command()
def doctor() -> None:
    """Check this machine: packages, video decoding, accelerator, data folders. Prints what to do."""
    from sgear.cli.doctor import run_doctor

    raise typer.Exit(0 if run_doctor() else 1)


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for the films, the runs and the report.")] = Path("runs/quickstart"),
    seed: Annotated[int, typer.Option(help="Seed of the films and of training.")] = 0,
) -> None:
    """Render a kitchen, learn to anticipate in it, and leave a table, a report and a film. About 7 minutes."""
    from sgear.cli.quickstart import run_quickstart

    run_quickstart(out, seed)


def main() -> None:
    """Run the command line; a `SgearError` becomes one line on stderr and exit code 2."""
    # Must stand before torch is loaded. Threads that wait for each other actively lose five times where another
    # process takes one of the cores (docs/decisions/003).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except SgearError as err:
        typer.secho(f"error: {err}", err=True, fg=typer.colors.RED)
        sys.exit(2)


if __name__ == "__main__":
    main()
