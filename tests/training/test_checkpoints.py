"""A checkpoint is tensors and JSON; what is not whole is skipped by name, and the newest whole one is taken."""

import errno
import json
import os
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from sgear.errors import RunError, WriteError
from sgear.training.checkpoints import (
    CheckpointWriter,
    Progress,
    TrainingState,
    list_checkpoints,
    load_newest_checkpoint,
    random_state,
    set_random_state,
)
from sgear.training.config import OptimConfig, RuntimeConfig
from sgear.training.loop import make_accelerator
from sgear.training.optim import build_optimizer

ACCELERATOR = make_accelerator(RuntimeConfig(device="cpu"))
FILES = ("state.safetensors", "state.json", "manifest.json")


class Tied(nn.Module):
    """Two names for one weight, and a parameter that never learns."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.second(self.first(x))


def new_state(optimizer: str = "adamw", *, has_average: bool = True) -> TrainingState:
    module = Tied()
    built = build_optimizer(module, OptimConfig(name=optimizer, lr=0.1))
    return TrainingState(module, built, AveragedModel(module) if has_average else None)


def learn(state: TrainingState, num_steps: int) -> None:
    for _ in range(num_steps):
        state.optimizer.zero_grad()
        state.module(torch.randn(3, 4)).square().sum().backward()
        state.optimizer.step()
        if isinstance(state.average, AveragedModel):
            state.average.update_parameters(state.module)


def assert_equal(state: TrainingState, expected: dict[str, torch.Tensor]) -> None:
    found = state.tensors()
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


def save(folder: Path, state: TrainingState, *steps: int) -> None:
    with CheckpointWriter(ACCELERATOR, folder, state) as checkpoints:
        for step in steps:
            checkpoints.save(Progress(epoch=1, step=step, skipped={"uid": "torn"}))


def load(folder: Path, state: TrainingState) -> tuple[Progress, list[str]]:
    said: list[str] = []
    return load_newest_checkpoint(ACCELERATOR, folder, state, said.append), said


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("has_average", [True, False])
def test_a_state_goes_on_with_the_same_bits(tmp_path, optimizer, has_average):
    state = new_state(optimizer, has_average=has_average)
    learn(state, 3)
    save(tmp_path, state, 3)
    learn(state, 2)

    other = new_state(optimizer, has_average=has_average)
    learn(other, 1)
    progress, said = load(tmp_path, other)
    assert progress == Progress(epoch=1, step=3, skipped={"uid": "torn"})
    assert said == [f"goes on from {tmp_path / 'step-00000003'}"]
    learn(other, 2)
    assert_equal(other, state.tensors())


def test_all_generators_go_on_where_they_were():
    def draw() -> list[float]:
        drawn = [random.random(), random.gauss(0, 1), float(torch.rand(1)), float(torch.randn(1))]
        return [*drawn, np.random.rand(), np.random.randn()]

    draw()
    state = json.loads(json.dumps(random_state(torch.device("cpu"))))
    expected = draw()
    draw()
    set_random_state(state, torch.device("cpu"))
    assert draw() == expected


def test_files_are_plain_and_for_everybody_whom_the_folder_is_for(tmp_path):
    save(tmp_path, new_state(), 1, 2, 3)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]
    newest = tmp_path / "step-00000003"
    assert sorted(path.name for path in newest.iterdir()) == sorted(FILES)
    manifest = json.loads((newest / "manifest.json").read_text())
    assert {name: facts["bytes"] for name, facts in manifest["files"].items()} == {
        name: (newest / name).stat().st_size for name in FILES[:2]
    }
    assert len({(newest / name).stat().st_mode for name in FILES}) == 1


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [Path.unlink, empty, cut, flip, replace_by_pipe])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_skipped_by_name_and_the_one_before_is_taken(tmp_path, damage, name):
    state = new_state()
    save(tmp_path, state, 1)
    expected = {name: tensor.clone() for name, tensor in state.tensors().items()}
    learn(state, 1)
    save(tmp_path, state, 2)
    damage(tmp_path / "step-00000002" / name)
    other = new_state()
    progress, said = load(tmp_path, other)
    assert progress.step == 1
    assert said[0].startswith(f"{tmp_path / 'step-00000002'}: skipped, ")
    assert name in said[0] or name == "manifest.json"
    assert_equal(other, expected)
    # What is written next keeps two whole ones beside the damaged one, and then takes its place.
    save(tmp_path, other, 1)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000001", "step-00000002"]
    save(tmp_path, other, 2)
    assert load(tmp_path, other)[0].step == 2


def test_without_a_whole_checkpoint_all_faults_are_said(tmp_path):
    save(tmp_path, new_state(), 1, 2)
    for path in list_checkpoints(tmp_path):
        empty(path / "state.json")
    with pytest.raises(RunError) as error:
        load(tmp_path, new_state())
    assert "no whole checkpoint to resume from" in str(error.value)
    assert str(error.value).count("state.json has 0 bytes instead of") == 2
    shutil.rmtree(tmp_path / "step-00000001")
    shutil.rmtree(tmp_path / "step-00000002")
    with pytest.raises(RunError, match=r"no checkpoint to resume from; start without runtime\.resume=true"):
        load(tmp_path, new_state())


def test_a_pickled_checkpoint_of_an_earlier_version_is_refused_unread(tmp_path):
    old = tmp_path / "step-00000004"
    old.mkdir()
    for name in ("random_states_0.pkl", "optimizer.bin", "custom_checkpoint_0.pkl"):
        (old / name).write_bytes(pickle.dumps(1))
    (old / "progress.json").write_text('{"epoch": 1, "batch": 0, "step": 4, "skipped": {}, "num_processes": 1}')
    with pytest.raises(RunError, match=r"earlier version with pickle.*never read\n.*start again.*'sgear evaluate'"):
        load(tmp_path, new_state())


def test_a_checkpoint_of_another_number_of_processes_or_another_model_is_refused(tmp_path, monkeypatch):
    save(tmp_path, new_state(), 1)
    with pytest.raises(RunError, match=r"step-00000001: does not fit this model \(.*start again"):
        load(tmp_path, new_state(has_average=False))
    monkeypatch.setattr("sgear.training.checkpoints.gather_object", lambda states: states * 4)
    save(tmp_path, new_state(), 1)
    with pytest.raises(RunError, match=r"saved by 4 processes, now there are 1; resume with 4 .*--nproc 4"):
        load(tmp_path, new_state())


@pytest.mark.parametrize("broken", ["fsync", "write"])
def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path, monkeypatch, broken):
    state = new_state()
    save(tmp_path, state, 1, 2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if broken == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr("sgear.training.checkpoints.save_file", full)
    with pytest.raises(
        WriteError, match=r"step-00000003: cannot be written \(No space left on device\).*step-00000002"
    ):
        save(tmp_path, state, 3)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
    assert load(tmp_path, new_state())[0].step == 2
