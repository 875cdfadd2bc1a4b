"""`sgear launch` and `sgear jobs`: where a training runs, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from sgear.cli.runs import check_experiment_named, train_experiment
from sgear.cli.terminal import open_screen, plain_table, say, write_out
from sgear.errors import ConfigError, RunError
from sgear.experiment import compose_experiment
from sgear.experiment.schema import ExperimentConfig
from sgear.experiment.sweep import members_of
from sgear.files import quoted
from sgear.launch.cluster import PREFIX, compose_cluster
from sgear.launch.local import launch_debug, launch_local

_PLACES = ("local", "debug", "slurm")
_POLL_S = 2.0


def run_launch(
    overrides: Sequence[str],
    *,
    on: str,
    num_processes: int,
    cluster: Path | None,
    show: bool,
    sweep: bool,
    post_mortem: bool,
    anomaly: bool,
) -> None:
    """Start a training where it was asked for.

    Raises:
        ConfigError: If an option belongs to another place, or a setting is wrong.
        SgearError: If the training, or submitting it, fails.
    """
    if on not in _PLACES:
        raise ConfigError(f"--on {on}: choose {', '.join(_PLACES)}")
    of_place = {
        "local": {"--nproc": num_processes},
        "debug": {"--pdb": post_mortem, "--anomaly": anomaly},
        "slurm": {"--cluster": cluster, "--print": show, "--sweep": sweep}
        | {each.partition("=")[0]: True for each in overrides if each.startswith(PREFIX)},
    }
    for place, options in of_place.items():
        if place != on and (foreign := [name for name, given in options.items() if given]):
            raise ConfigError(f"{', '.join(foreign)} belongs to --on {place}, not to --on {on}")
    asked, settings = compose_cluster(cluster, list(overrides))
    check_experiment_named(settings)
    if on == "slurm":
        # Here: it takes submitit, which the other places do not need.
        from sgear.launch.slurm import job_script, submit

        members = _members(settings, sweep=sweep)
        if show:
            write_out(job_script(asked, members[0][0]))
            return
        for job in submit(asked, members):
            say(f"job {job.job_id}: {job.name}")
        say(f"see them with: sgear jobs --folder {quoted(Path(asked.folder))}")
        return
    config = compose_experiment(settings)
    if on == "debug":
        launch_debug(settings, train_experiment, post_mortem=post_mortem, anomaly=anomaly)
        return
    count = num_processes or None
    _say_batch(config, count)
    launch_local(settings, num_processes=num_processes, say=say)


def _members(settings: list[str], *, sweep: bool) -> list[tuple[str, list[str]]]:
    if sweep:
        return [(member.run.name, list(member.overrides)) for member in members_of(settings)]
    return [(compose_experiment(settings).name, settings)]


def _say_batch(config: ExperimentConfig, num_processes: int | None) -> None:
    if num_processes and num_processes > 1:
        optim = config.optim
        say(
            f"effective batch: {num_processes} processes x {optim.batch_size} x {optim.accumulate} accumulated = "
            f"{num_processes * optim.batch_size * optim.accumulate}"
        )


def run_jobs(number: str, folder: Path, *, follow: bool, stop: bool) -> None:
    """List the jobs of a folder, or show, follow or cancel one.

    Raises:
        ConfigError: If there is no SLURM here, or options contradict each other.
        RunError: If there is no such job.
    """
    from sgear.launch.slurm import cancel, jobs_in, states

    if (follow or stop) and not number:
        raise ConfigError("name the job to follow or to cancel, e.g. sgear jobs 42 --follow")
    if follow and stop:
        raise ConfigError("--follow and --cancel contradict each other; give one of them")
    known = jobs_in(folder)
    chosen = [job for job in known if not number or job.job_id == number or job.job_id.partition("_")[0] == number]
    if not chosen:
        there = ", ".join(job.job_id for job in known[:8]) or "none"
        raise RunError(f"{folder}: no job {number or 'at all'} there; there is {there}")
    if stop:
        for job in chosen:
            cancel(job)
            say(f"job {job.job_id}: cancelled; go on with the same 'sgear launch', or runtime.resume=auto")
        return
    if follow:
        _follow(chosen[0])
        return
    table = plain_table(left=("job", "state", "run", "log"))
    now = states(chosen)
    for job in chosen:
        table.add_row(job.job_id, now[job.job_id], job.name, str(job.log))
    open_screen().print(table)


def _follow(job) -> None:
    """Print what a job prints until it is no more in the queue."""
    places = {job.log: 0, job.errors: 0}
    while True:
        is_over = job.state == "ENDED"
        for path, place in places.items():
            if path.is_file():
                with path.open("rb") as log:
                    log.seek(place)
                    write_out(log.read().decode(errors="replace"))
                    places[path] = log.tell()
        if is_over:
            return
        time.sleep(_POLL_S)
