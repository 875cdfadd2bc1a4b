"""Ctrl-C or SIGTERM in the middle of a training: one line says how to go on, and going on ends with the same bits."""

import shlex
import signal
from pathlib import Path

import pytest
from whole_command import run_here

from sgear.experiment.evaluate import predict
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.training.checkpoints import list_checkpoints
from sgear.training.run import Tracker

# 60 clips: 3 batches of 16 and one of 12.
KITCHEN = KitchenConfig(
    num_train_videos=5, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=12
)
NAME = "a run"


def command(root: Path, *overrides: str) -> list[str]:
    settings = [f"dataset.root={root / 'kitchen'}", f"name='{NAME}'", "runtime.device=cpu", "optim.epochs=2"]
    return ["train", "experiment=smoke/kitchen", "runtime.evaluate_every=1", *settings, *overrides]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    build_kitchen(folder / "kitchen", KITCHEN, num_processes=1, with_videos=False)
    done = run_here(*command(folder, f"output_root={folder}"))
    assert done.returncode == 0, done.stderr
    return folder


def the_way_on(stderr: str) -> list[str]:
    (line,) = [line for line in stderr.splitlines() if "go on with: " in line]
    words = shlex.split(line.partition("go on with: ")[2])
    assert words[0] == "sgear"
    return words[1:]


def stop_after_step(monkeypatch, step: int, number: int) -> None:
    log = Tracker.log

    def log_and_stop(self, kind, at, values):
        log(self, kind, at, values)
        if (kind, at) == ("train", step):
            signal.raise_signal(number)

    monkeypatch.setattr(Tracker, "log", log_and_stop)


@pytest.mark.parametrize(("step", "number"), [(2, signal.SIGINT), (4, signal.SIGTERM), (7, signal.SIGINT)])
def test_a_stopped_training_goes_on_from_the_step_it_was_at(root: Path, tmp_path: Path, monkeypatch, step, number):
    with monkeypatch.context() as patch:
        stop_after_step(patch, step, number)
        stopped = run_here(*command(root, f"output_root={tmp_path}"))
    assert stopped.returncode == 128 + number
    assert f"stopped by {signal.Signals(number).name}; go on with: " in stopped.stderr
    assert list_checkpoints(tmp_path / NAME / "checkpoints")[-1].name == f"step-{step:08d}"
    way_on = the_way_on(stopped.stderr)
    assert way_on == [*command(root, f"output_root={tmp_path}"), "runtime.resume=true"]
    assert_same_end(run_here(*way_on), root, tmp_path)


def test_a_training_stopped_in_an_evaluation_does_it_again(root: Path, tmp_path: Path, monkeypatch):
    calls = []

    def predict_and_stop(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return predict(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("sgear.experiment.train.predict", predict_and_stop)
        stopped = run_here(*command(root, f"output_root={tmp_path}"))
    assert stopped.returncode == 130
    assert_same_end(run_here(*the_way_on(stopped.stderr)), root, tmp_path)


def test_what_has_saved_nothing_yet_begins_again(root: Path, tmp_path: Path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sgear.experiment.train.build_data", lambda config: signal.raise_signal(signal.SIGINT))
        stopped = run_here(*command(root, f"output_root={tmp_path}", "runtime.resume=false"))
    assert stopped.returncode == 130
    assert the_way_on(stopped.stderr) == command(root, f"output_root={tmp_path}")
    with monkeypatch.context() as patch:
        patch.setattr("sgear.cli.runs.find_run", lambda path: signal.raise_signal(signal.SIGTERM))
        stopped = run_here("evaluate", tmp_path / NAME)
    assert stopped.returncode == 143
    assert the_way_on(stopped.stderr) == ["evaluate", str(tmp_path / NAME)]


def assert_same_end(done, root: Path, folder: Path) -> None:
    assert done.returncode == 0, done.stderr
    assert f"goes on from {folder / NAME / 'checkpoints'}" in done.stdout
    for name in ("model/weights.safetensors", "metrics.jsonl", "report.json"):
        assert (folder / NAME / name).read_bytes() == (root / NAME / name).read_bytes(), name
