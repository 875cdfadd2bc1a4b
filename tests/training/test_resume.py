"""A training run that is killed and resumed ends with the bits of one that never stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.training.checkpoints import list_checkpoints

CONFIG = KitchenConfig(
    num_train_videos=6, num_validation_videos=2, num_participants=4, num_unseen_participants=1, actions_per_video=20
)
TIMEOUT_S = 180


def start(root: Path, *overrides: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "sgear.cli.main", "train", "experiment=smoke/kitchen", "runtime.device=cpu"]
    command += [f"dataset.root={root / 'kitchen'}", "optim.epochs=6", "runtime.checkpoint_every=5", *overrides]
    return subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    return output


def train_lines(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "train"]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    build_kitchen(root / "kitchen", CONFIG, num_processes=1, with_videos=False)
    finish(start(root, f"output_root={root}"))
    return root


@pytest.mark.parametrize("num_steps_before_kill", [8, 27])
def test_sigkill_and_resume_give_the_same_bits(whole_run: Path, tmp_path: Path, num_steps_before_kill: int):
    process = start(whole_run, f"output_root={tmp_path}")
    run = tmp_path / "smoke-kitchen"
    log = run / "metrics.jsonl"

    def is_there() -> bool:
        has_steps = log.is_file() and log.read_text().count("\n") >= num_steps_before_kill
        return has_steps and bool(list_checkpoints(run / "checkpoints"))

    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_there():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline_s, "training did not get that far"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "smoke-kitchen" / "model").exists()

    finish(start(whole_run, f"output_root={tmp_path}", "runtime.resume=true"))

    expected, resumed = whole_run / "smoke-kitchen", tmp_path / "smoke-kitchen"
    weights = Path("model") / "weights.safetensors"
    assert (resumed / weights).read_bytes() == (expected / weights).read_bytes()
    assert train_lines(resumed) == train_lines(expected)
    assert json.loads((resumed / "report.json").read_text()) == json.loads((expected / "report.json").read_text())


def test_a_second_run_of_the_same_name_is_refused(whole_run: Path):
    process = start(whole_run, f"output_root={whole_run}")
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    assert "a run of this name exists" in output


def test_resuming_with_other_settings_is_refused(whole_run: Path):
    process = start(whole_run, f"output_root={whole_run}", "runtime.resume=true", "optim.lr=0.5")
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    words = " ".join(output.split())
    assert "cannot resume with other settings: optim.lr was 0.002 and is now 0.5; give the same" in words
