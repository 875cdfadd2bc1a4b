"""Jobs on a real SLURM: `make test-slurm` brings one up on this machine; without one these tests are skipped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sgear.errors import ConfigError
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.launch.cluster import ClusterConfig
from sgear.launch.slurm import Job, cancel, job_script, jobs_in, submit
from sgear.predictions import Predictions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SLURM_CONF") or shutil.which("sbatch") is None,
        reason="no SLURM here: 'make test-slurm' installs one and brings it up",
    ),
]
KITCHEN = KitchenConfig(num_train_videos=4, num_validation_videos=2, num_participants=3, actions_per_video=16)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("slurm") / "kitchen"
    build_kitchen(root, KITCHEN, num_processes=1, with_videos=False)
    return root


@pytest.fixture
def cluster(tmp_path) -> ClusterConfig:
    return ClusterConfig(folder=str(tmp_path / "jobs"), signal_delay_s=30, timeout_min=30)


def settings(kitchen: Path, out: Path, *more: str) -> list[str]:
    return ["experiment=smoke/kitchen", f"dataset.root={kitchen}", f"output_root={out}", "optim.epochs=2", *more]


def wait_for(is_true: Callable[[], object], limit_s: float = 180) -> None:
    end_s = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < end_s, "took too long"
        time.sleep(0.5)


def end_of(job: Job) -> str:
    """Wait for the end of a job, let it go on at once where it waits in the queue again, and return what it printed."""

    def is_over() -> bool:
        if job.state == "PENDING":
            subprocess.run(["scontrol", "update", f"jobid={job.job_id}", "StartTime=now"], check=False)
        return job.state == "ENDED"

    wait_for(is_over)
    return job.log.read_text() + job.errors.read_text()


def steps_of(run: Path) -> int:
    log = run / "metrics.jsonl"
    return len(log.read_text().splitlines()) if log.is_file() else 0


def logits_of(run: Path) -> np.ndarray:
    return Predictions.load(run / "predictions" / "validation.safetensors").logits


def alone(kitchen: Path, out: Path, *more: str, count: int) -> np.ndarray:
    command = ["launch", "--nproc", str(count)] if count > 1 else ["train"]
    words = [sys.executable, "-m", "sgear.cli.main", *command, *settings(kitchen, out, "name=alone", *more)]
    subprocess.run(words, check=True, capture_output=True, timeout=300)
    return logits_of(out / "alone")


def test_two_tasks_of_a_job_give_what_two_processes_give_without_slurm(kitchen, tmp_path, cluster):
    (job,) = submit(
        ClusterConfig(**{**vars(cluster), "tasks_per_node": 2}), [("run", settings(kitchen, tmp_path, "name=run"))]
    )
    assert jobs_in(Path(cluster.folder)) == [job]
    text = end_of(job)
    assert "training clips" in text
    assert np.array_equal(logits_of(tmp_path / "run"), alone(kitchen, tmp_path, count=2))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["num_evaluated"] == report["num_asked"] == 32


def test_a_sweep_is_an_array_of_jobs(kitchen, tmp_path, cluster):
    members = [(f"s{seed}", settings(kitchen, tmp_path, f"name=s{seed}", f"seed={seed}")) for seed in range(3)]
    jobs = submit(cluster, members)
    assert len({job.job_id.partition("_")[0] for job in jobs}) == 1
    for job in jobs:
        end_of(job)
        assert (tmp_path / job.name / "report.json").is_file()


@pytest.mark.parametrize("name", ["USR1", "USR2"])
def test_a_job_that_is_preempted_saves_is_queued_again_and_goes_on_to_the_same_bits(
    kitchen, tmp_path, cluster, name, monkeypatch
):
    monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", name)
    long = "optim.epochs=150"
    (job,) = submit(
        ClusterConfig(**{**vars(cluster), "tasks_per_node": 2}),
        [("run", settings(kitchen, tmp_path, "name=run", long))],
    )
    wait_for(lambda: steps_of(tmp_path / "run") > 20)
    subprocess.run(["scancel", f"--signal={name}", job.job_id], check=True)
    wait_for(lambda: job.state == "PENDING")
    before = steps_of(tmp_path / "run")
    saved = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert saved[-1] == f"step-{before:08d}"
    assert not (tmp_path / "run" / "report.json").exists()
    assert "Requeued" in end_of(job)
    assert np.array_equal(logits_of(tmp_path / "run"), alone(kitchen, tmp_path, long, count=2))


def test_a_job_whose_time_is_over_goes_on_in_the_next(kitchen, tmp_path, cluster):
    short = ClusterConfig(**{**vars(cluster), "timeout_min": 1, "signal_delay_s": 40})
    (job,) = submit(short, [("run", settings(kitchen, tmp_path, "name=run", "optim.epochs=4000"))])
    wait_for(lambda: job.state == "PENDING" and steps_of(tmp_path / "run") > 0)
    assert "Requeued" in job.log.read_text()
    assert list((tmp_path / "run" / "checkpoints").iterdir())
    cancel(job)


def test_a_cancelled_job_keeps_its_checkpoint(kitchen, tmp_path, cluster):
    (job,) = submit(cluster, [("run", settings(kitchen, tmp_path, "name=run", "optim.epochs=4000"))])
    wait_for(lambda: (tmp_path / "run" / "checkpoints").is_dir() and len(os.listdir(tmp_path / "run/checkpoints")) > 1)
    cancel(job)
    wait_for(lambda: job.state == "ENDED")
    assert any((tmp_path / "run" / "checkpoints").iterdir())


def test_a_dead_process_ends_the_job(kitchen, tmp_path, cluster):
    two = ClusterConfig(**{**vars(cluster), "tasks_per_node": 2})
    (job,) = submit(two, [("run", settings(kitchen, tmp_path, "name=run", "optim.epochs=4000"))])
    wait_for(lambda: steps_of(tmp_path / "run") > 5)
    words = f"output_root={tmp_path}"
    listed = subprocess.run(
        ["pgrep", "-f", f"sgear.cli.main train .*{words}"], capture_output=True, text=True, check=True
    )
    os.kill(max(map(int, listed.stdout.split())), signal.SIGKILL)
    began_s = time.monotonic()
    end_of(job)
    assert time.monotonic() - began_s < 60
    assert not (tmp_path / "run" / "report.json").exists()


def test_a_partition_that_does_not_exist_is_refused_with_the_words_of_slurm(kitchen, tmp_path, cluster):
    wrong = ClusterConfig(**{**vars(cluster), "partition": "none_of_this_name"})
    with pytest.raises(ConfigError, match=r"SLURM refuses the job: .*invalid partition"):
        submit(wrong, [("run", settings(kitchen, tmp_path))])
    assert "--partition=none_of_this_name" in job_script(wrong, "run")
