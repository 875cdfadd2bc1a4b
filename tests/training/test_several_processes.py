"""Several processes train one run: it is written once, and what they learn is not what one of them learns alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.training.run import read_json

KITCHEN = KitchenConfig(
    num_train_videos=5, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=12
)


def train_with_two(root: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    build_kitchen(root / "kitchen", KITCHEN, num_processes=1, with_videos=False)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "sgear.cli.main", "train", f"dataset.root={root / 'kitchen'}", f"output_root={root}"]
    command += ["optim.epochs=2", "runtime.device=cpu", *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_a_part_of_the_model_that_the_stage_does_not_use_stops_nobody(tmp_path: Path):
    small = ["model.width=96", "model.decoder.width=64", "model.decoder.num_layers=1", "model.encoder.feature_dim=64"]
    data = ["experiment=own/recognition_features", "dataset.name=kitchen", "source.features=oracle"]
    train_with_two(tmp_path, *data, *small)
    report = read_json(tmp_path / "own-recognition-features" / "report.json")
    assert report["num_evaluated"] == report["num_asked"] > 0


@pytest.mark.slow
def test_two_processes_leave_one_whole_run(tmp_path: Path):
    done = train_with_two(tmp_path, "experiment=smoke/kitchen", "runtime.evaluate_every=1")
    assert done.stdout.count("run directory: ") == done.stdout.count("training clips") == 1
    run = tmp_path / "smoke-kitchen"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    # 60 clips, 16 of each process in a step.
    assert steps == [1, 2, 3, 4]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [2, 4]
    report = read_json(run / "report.json")
    assert report["num_evaluated"] == report["num_asked"] == 24
