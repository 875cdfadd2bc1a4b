"""Launching: what is asked of a cluster, processes of one machine, and the debugger."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sgear.errors import ConfigError
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.launch.cluster import ClusterConfig, compose_cluster
from sgear.launch.slurm import job_script, jobs_in
from sgear.predictions import Predictions

KITCHEN = KitchenConfig(num_train_videos=4, num_validation_videos=2, num_participants=3, actions_per_video=16)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("launch") / "kitchen"
    build_kitchen(root, KITCHEN, num_processes=1, with_videos=False)
    return root


def words(command: list[str], kitchen: Path, out: Path, *more: str) -> list[str]:
    settings = ["experiment=smoke/kitchen", f"dataset.root={kitchen}", f"output_root={out}", "optim.epochs=1", *more]
    return [sys.executable, "-m", "sgear.cli.main", *command, *settings]


def run(command: list[str], *, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=ENVIRONMENT, input=stdin, capture_output=True, text=True, check=False, timeout=240
    )


# --- what a cluster is asked for -----------------------------------------------------------------------------------


def test_a_file_and_what_is_typed_make_one_request(tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text("nodes: 2\npartition: gpu\nsetup: [module load cuda]\nextra: {mail-type: END}\n")
    config, others = compose_cluster(file, ["cluster.nodes=3", "seed=1", "cluster.qos=long"])
    assert others == ["seed=1"]
    assert config == ClusterConfig(
        nodes=3, partition="gpu", qos="long", setup=["module load cuda"], extra={"mail-type": "END"}
    )
    assert compose_cluster(None, []) == (ClusterConfig(), [])


@pytest.mark.parametrize(
    ("content", "typed", "message"),
    [
        ("nods: 2", [], r"unknown setting cluster\.nods; did you mean nodes"),
        ("- 2", [], "expected keys and values"),
        ("nodes: [", [], "cannot be read as YAML"),
        ("nodes: many", [], "many"),
        ("", ["cluster.nodes=0"], "must be at least 1, got 0"),
        ("", ["cluster.mem_gb=-1"], "must not be negative"),
        ("", ["cluster.time=5"], r"unknown setting cluster\.time; there are"),
    ],
)
def test_a_wrong_request_is_named(tmp_path, content, typed, message):
    file = tmp_path / "cluster.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        compose_cluster(file, typed)
    with pytest.raises(ConfigError, match="no such file"):
        compose_cluster(tmp_path / "none.yaml", [])


def test_the_script_asks_for_what_was_said(tmp_path, monkeypatch):
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\nexit 1\n")
    sbatch.chmod(sbatch.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    config = ClusterConfig(
        nodes=2,
        tasks_per_node=4,
        gpus_per_node=4,
        cpus_per_task=8,
        mem_gb=64.0,
        timeout_min=90,
        partition="gpu",
        account="me",
        qos="long",
        constraint="a100",
        comment="trial",
        setup=["module load cuda"],
        extra={"mail-type": "END"},
        folder=str(tmp_path / "jobs"),
    )
    script = job_script(config, "my-run")
    for line in (
        *("--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--cpus-per-task=8", "--mem=64GB", "--time=90"),
        *("--partition=gpu", "--account=me", "--qos=long", "--constraint=a100", "--comment=", "--mail-type=END"),
        *("--job-name=my-run", "--signal=USR2@90"),
    ):
        assert f"#SBATCH {line}" in script
    assert "\nmodule load cuda\n" in script
    assert "--kill-on-bad-exit=1" in script


def test_without_slurm_one_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"no SLURM here .*--on local"):
        job_script(ClusterConfig(folder=str(tmp_path / "jobs")), "run")
    (tmp_path / "jobs").mkdir(exist_ok=True)
    assert jobs_in(tmp_path / "jobs") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--on", "moon"], "choose local, debug, slurm"),
        (["--pdb"], "--pdb belongs to --on debug, not to --on local"),
        (["--on", "debug", "--nproc", "2"], "--nproc belongs to --on local"),
        (["--on", "debug", "cluster.nodes=2"], "cluster.nodes belongs to --on slurm"),
    ],
)
def test_options_of_another_place_are_refused(kitchen, tmp_path, options, message):
    done = run(words(["launch", *options], kitchen, tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


# --- processes of one machine --------------------------------------------------------------------------------------


def test_one_two_and_three_processes_evaluate_each_segment_once_and_alike(kitchen, tmp_path):
    scores = []
    # Steps too small to change a weight: what is left is the evaluation.
    still = ["optim.lr=1e-30", "optim.weight_decay=0", "optim.warmup_epochs=0"]
    for count in (1, 2, 3):
        command = ["train"] if count == 1 else ["launch", "--nproc", str(count)]
        done = run(words(command, kitchen, tmp_path, f"name=n{count}", *still))
        assert done.returncode == 0, done.stderr
        scores.append(Predictions.load(tmp_path / f"n{count}" / "predictions" / "validation.safetensors"))
        lines = [json.loads(line) for line in (tmp_path / f"n{count}" / "metrics.jsonl").read_text().splitlines()]
        # 64 clips, 16 of each process in a step: processes share the clips, none trains alone.
        assert len(lines) == -(-64 // (16 * count))
    for table in scores[1:]:
        assert table.uids == scores[0].uids
        np.testing.assert_allclose(table.logits, scores[0].logits, atol=1e-6)


def _children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def _start_and_wait_for_steps(command: list[str], log: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end_s = time.monotonic() + 120
    while not (log.is_file() and log.stat().st_size > 1000):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end_s
        time.sleep(0.1)
    return process


def test_a_dead_process_ends_all_with_a_message(kitchen, tmp_path):
    command = words(["launch", "--nproc", "2"], kitchen, tmp_path, "optim.epochs=5000")
    process = _start_and_wait_for_steps(command, tmp_path / "smoke-kitchen" / "metrics.jsonl")
    victims = _children(process.pid)
    assert len(victims) == 2
    os.kill(victims[1], signal.SIGKILL)
    began_s = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began_s < 30
    assert process.returncode == 2
    assert "process 1 of 2 ended with signal 9" in err
    assert not Path(f"/proc/{victims[0]}").exists()


@pytest.mark.slow
def test_processes_that_are_asked_to_stop_save_together_and_go_on_to_the_same_bits(kitchen, tmp_path):
    settings = ["optim.epochs=40", "name=run"]
    whole = run(words(["launch", "--nproc", "2"], kitchen, tmp_path / "whole", *settings))
    assert whole.returncode == 0, whole.stderr
    command = words(["launch", "--nproc", "2"], kitchen, tmp_path / "parts", *settings, "runtime.resume=auto")
    process = _start_and_wait_for_steps(command, tmp_path / "parts" / "run" / "metrics.jsonl")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "stopped by SIGTERM" in err
    assert not (tmp_path / "parts" / "run" / "report.json").exists()
    again = run(command)
    assert again.returncode == 0, again.stderr
    first, second = (
        Predictions.load(tmp_path / name / "run" / "predictions" / "validation.safetensors")
        for name in ("whole", "parts")
    )
    assert np.array_equal(first.logits, second.logits)


# --- the debugger --------------------------------------------------------------------------------------------------


def test_debug_opens_the_debugger_where_training_failed(kitchen, tmp_path):
    wrong = ["optim.lr=1e30", "optim.clip_norm=0", "optim.warmup_epochs=0", "optim.epochs=2"]
    done = run(words(["launch", "--on", "debug", "--pdb"], kitchen, tmp_path, *wrong), stdin="p 6 * 7\nq\n")
    assert done.returncode == 2
    assert "(Pdb) 42" in done.stdout
    assert "training diverged" in done.stderr
