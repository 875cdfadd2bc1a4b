"""SLURM through submitit: a job trains as `sgear train runtime.resume=auto` does, whenever and wherever it is started.

Before its time is over, and when it is preempted, SLURM sends a signal (USR2, or USR1 with SUBMITIT_PREEMPT_SIGNAL):
the training writes a checkpoint, the job is queued again and goes on to the same bits.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from sgear.errors import ConfigError, RunError
from sgear.files import require_writable
from sgear.launch.cluster import ClusterConfig
from sgear.training.run import read_json, write_json

_POLL_S = 0.2
_STOP_S = 60.0
_STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM)


class TrainTask:
    """One process of a job; pickled into the folder of the job by submitit, and again when it is queued again.

    Args:
        overrides: Settings of `sgear train`.
    """

    def __init__(self, overrides: Sequence[str]) -> None:
        self.overrides = list(overrides)
        self.child: subprocess.Popen | None = None

    def __call__(self) -> int:
        """Train, and return the exit code.

        Raises:
            RuntimeError: If the training ended with an error; what it printed stands in the log of the job.
        """
        environment = os.environ.copy()
        if submitit.JobEnvironment().num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
            environment = os.environ.copy()
        command = [sys.executable, "-m", "sgear.cli.main", "train", *self.overrides, "runtime.resume=auto"]
        # In a process group of its own: SLURM signals all processes of a step, and two signals would end it at once.
        self.child = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603
        code = self._wait()
        if code in _STOPPED:
            # Another process of the job asks for the new place in the queue, which ends this one.
            time.sleep(_STOP_S)
        if code:
            raise RuntimeError(f"the training ended with exit code {code}; its own words stand above")
        return 0

    def _wait(self, limit_s: float = float("inf")) -> int | None:
        """Return the exit code of the training; None where it takes longer."""
        assert self.child is not None  # `__call__` starts it
        end_s = time.monotonic() + limit_s
        # Not `Popen.wait`: a signal may come in its midst, and its handler asks for the same process.
        while (code := self.child.poll()) is None and time.monotonic() < end_s:
            time.sleep(_POLL_S)
        return code

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Let the training write a checkpoint, and return what goes on with it; called by submitit at a signal."""
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            if self._wait(_STOP_S) is None:
                # The newest checkpoint is whole in any case.
                self.child.kill()
        return submitit.helpers.DelayedSubmission(TrainTask(self.overrides))


@dataclass(frozen=True)
class Job:
    """A job that was submitted.

    Args:
        job_id: Its number; of a member of an array `ARRAY_INDEX`.
        name: Name of the run.
        overrides: Settings of the training.
        folder: Folder of its script and logs.
        submitted_s: When it was submitted, in seconds since 1970.
    """

    job_id: str
    name: str
    overrides: list[str]
    folder: str
    submitted_s: float

    @property
    def log(self) -> Path:
        """What its first process printed on standard output."""
        return Path(self.folder) / f"{self.job_id}_0_log.out"

    @property
    def errors(self) -> Path:
        """What its first process printed on standard error."""
        return Path(self.folder) / f"{self.job_id}_0_log.err"

    @property
    def state(self) -> str:
        """What SLURM says of it, e.g. `RUNNING`; `ENDED` where it is no more in the queue."""
        return _states([self.job_id])[self.job_id]


def _executor(config: ClusterConfig, name: str) -> submitit.AutoExecutor:
    _require_slurm("sbatch")
    folder = Path(config.folder).absolute()
    require_writable(folder / "job.json")
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=config.max_requeues)
    asked: dict[str, Any] = {
        "name": name,
        "nodes": config.nodes,
        "tasks_per_node": config.tasks_per_node,
        "cpus_per_task": config.cpus_per_task,
        "timeout_min": config.timeout_min,
        "slurm_signal_delay_s": config.signal_delay_s,
        "slurm_array_parallelism": config.parallel,
        # A job whose processes would wait for a dead one ends at once.
        "slurm_srun_args": ["--kill-on-bad-exit=1"],
    }
    if config.gpus_per_node:
        asked["gpus_per_node"] = config.gpus_per_node
    if config.mem_gb:
        asked["mem_gb"] = config.mem_gb
    if config.setup:
        asked["slurm_setup"] = config.setup
    for key in ("partition", "account", "qos", "constraint", "comment"):
        if value := getattr(config, key):
            asked[f"slurm_{key}"] = value
    if config.extra:
        asked["slurm_additional_parameters"] = dict(config.extra)
    executor.update_parameters(**asked)
    return executor


def _require_slurm(command: str) -> None:
    if shutil.which(command) is None:
        raise ConfigError(
            f"no SLURM here ({command} is not found): run this on a login node of the cluster, or train here with "
            "--on local"
        )


def job_script(config: ClusterConfig, name: str) -> str:
    """Return the script that `submit` would hand to sbatch.

    Raises:
        ConfigError: If there is no SLURM here.
    """
    inner = _executor(config, name)._executor
    return inner._make_submission_file_text(inner._submitit_command_str, "ID")  # type: ignore[attr-defined]


def submit(config: ClusterConfig, members: Sequence[tuple[str, Sequence[str]]]) -> list[Job]:
    """Submit trainings: one job, or for several an array.

    Args:
        config: What the cluster is asked for.
        members: Name and settings of each training.

    Raises:
        ConfigError: If there is no SLURM here, or it refuses the job; gives its words.
        WriteError: If the folder of the jobs cannot be written.
    """
    executor = _executor(config, members[0][0])
    submitted = []
    try:
        if len(members) == 1:
            submitted.append(executor.submit(TrainTask(members[0][1])))
        else:
            with executor.batch():
                submitted += [executor.submit(TrainTask(overrides)) for _, overrides in members]
    except (FailedJobError, FailedSubmissionError) as err:
        words = " ".join(str(err).split()).partition("stderr:")[2] or str(err)
        raise ConfigError(f"SLURM refuses the job: {words.strip()}; see 'sinfo' and the settings cluster.*") from err
    now_s = time.time()
    folder = str(Path(config.folder).absolute())
    jobs = [
        Job(job_id=job.job_id, name=name, overrides=list(overrides), folder=folder, submitted_s=now_s)
        for job, (name, overrides) in zip(submitted, members, strict=True)
    ]
    for job in jobs:
        write_json(Path(folder) / f"{job.job_id}.json", asdict(job))
    return jobs


def jobs_in(folder: Path) -> list[Job]:
    """Return the jobs that were submitted with a folder, the newest first.

    Raises:
        RunError: If there is no such folder, or a record is damaged.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder of jobs; 'sgear launch --on slurm' makes one (cluster.folder)")
    try:
        jobs = [Job(**read_json(path)) for path in folder.glob("*.json")]
    except TypeError as err:
        raise RunError(f"{folder}: holds a damaged record of a job ({err}); delete it") from err
    return sorted(jobs, key=lambda job: (-job.submitted_s, job.job_id))


def states(jobs: Sequence[Job]) -> dict[str, str]:
    """Return the state of each job by its number, with one question to SLURM."""
    return _states([job.job_id for job in jobs])


def _states(job_ids: Sequence[str]) -> dict[str, str]:
    _require_slurm("squeue")
    command = ["squeue", "--noheader", "--array", "--format=%F|%K|%i|%T", "--me"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    if done.returncode:
        raise RunError(f"SLURM does not answer: {done.stderr.strip()}")
    found = {}
    for line in done.stdout.splitlines():
        array, index, number, state = line.strip().split("|")
        found[f"{array}_{index}" if index.isdigit() else number] = state
    return {job_id: found.get(job_id, "ENDED") for job_id in job_ids}


def cancel(job: Job) -> None:
    """Take a job out of the queue, or end it; the newest checkpoint of its run stays.

    Raises:
        RunError: If SLURM refuses.
    """
    _require_slurm("scancel")
    done = subprocess.run(["scancel", job.job_id], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603, S607
    if done.returncode:
        raise RunError(f"{job.job_id}: SLURM does not cancel it: {done.stderr.strip()}")
