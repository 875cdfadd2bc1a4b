"""Every mistake gives one clear message, exit code 2, and leaves nothing half-written."""

import shutil
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from whole_command import run_here

from sgear.kitchen import KitchenConfig, build_kitchen

CONFIG = KitchenConfig(
    num_train_videos=3, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=8
)


def sgear(*arguments: str | Path) -> CompletedProcess[str]:
    return run_here(*arguments, columns=400)


def assert_refused(done: CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bad") / "kitchen"
    build_kitchen(root, CONFIG, num_processes=1, with_videos=False)
    return root


@pytest.fixture
def copy(kitchen: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kitchen, tmp_path / "kitchen"))


def train(root: Path, out: Path, *overrides: str) -> CompletedProcess[str]:
    return sgear("train", "experiment=smoke/kitchen", f"dataset.root={root}", f"output_root={out}", *overrides)


def edit(path: Path, line: int, column: int, value: str) -> None:
    lines = path.read_text().splitlines()
    cells = lines[line - 1].split(",")
    cells[column] = value
    lines[line - 1] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")


def test_an_annotation_that_ends_before_it_starts_is_named_by_file_and_row(copy: Path, tmp_path: Path):
    path = copy / "annotations" / "EPIC_100_train.csv"
    edit(path, 4, 5, "00:00:00.10")
    assert_refused(train(copy, tmp_path / "runs"), "EPIC_100_train.csv", "row 4", "ends before it starts")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_class_is_named_by_file_and_row(copy: Path, tmp_path: Path):
    edit(copy / "annotations" / "EPIC_100_validation.csv", 3, 10, "77")
    assert_refused(train(copy, tmp_path / "runs"), "EPIC_100_validation.csv", "line 3")
    assert not (tmp_path / "runs").exists()


def test_missing_videos_are_counted_and_the_first_is_named(kitchen: Path, tmp_path: Path):
    done = sgear(
        "train", "experiment=kitchen/recognition", f"dataset.root={kitchen}", f"output_root={tmp_path / 'runs'}"
    )
    assert_refused(done, "videos")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("source.flip=true", ("source.kind=features has no setting source.flip",)),
        ("model.encoder.depth=3", ("model.encoder.depth=3", "no effect", "source.kind=features")),
        ("optim.lrr=1", ("unknown setting 'optim.lrr'", "did you mean optim.lr")),
        ("optim.epochs=many", ("many", "Integer")),
        ("protocol.tau_a_s=-1.0", ("tau_a_s must be positive",)),
        ("model.max_steps=3", ("8 steps", "model.max_steps=3")),
        ("model.encoder.feature_dim=12", ("64",)),
        ("objective.sem=1.0", ("language",)),
        ("experiment=smoke/none", ("smoke/none", "choose from")),
    ],
)
def test_a_setting_that_cannot_work_is_named(kitchen: Path, tmp_path: Path, override: str, parts: tuple[str, ...]):
    assert_refused(train(kitchen, tmp_path / "runs", override), *parts)
    assert not (tmp_path / "runs").exists()


def test_a_run_without_a_model_says_so(tmp_path: Path):
    run = tmp_path / "run"
    assert_refused(sgear("evaluate", run), str(run), "no such run directory")
    run.mkdir()
    assert_refused(sgear("evaluate", run), "config.yaml is missing")
    (run / "config.yaml").write_text("name: x\n")
    assert_refused(sgear("evaluate", run), "no trained model")
    assert_refused(sgear("report", run), str(run))
    assert_refused(sgear("anticipate", tmp_path / "video.mp4", "--model", run), "no trained model")


@pytest.fixture
def splits(real_data: Path, tmp_path: Path) -> Path:
    """The splits of 50Salads, and a folder for its features, which is empty."""
    root = tmp_path / "50salads"
    shutil.copytree(real_data / "50salads" / "splits", root / "splits")
    shutil.copy(real_data / "50salads" / "mid_level_actions.txt", root)
    (root / "spatialcnn_mid" / "split_1").mkdir(parents=True)
    return root


def train_salads(root: Path, out: Path) -> CompletedProcess[str]:
    return sgear("train", "experiment=salads50/spatialcnn_avt", f"output_root={out}", f"dataset.root={root}")


def test_an_absent_feature_file_is_named(splits: Path, tmp_path: Path):
    assert_refused(train_salads(splits, tmp_path / "runs"), ".npz", "no such file")
    assert not (tmp_path / "runs").exists()


def test_a_truncated_feature_file_is_named(splits: Path, tmp_path: Path):
    first = (splits / "splits" / "split_1" / "train.txt").read_text().split()[0]
    path = splits / "spatialcnn_mid" / "split_1" / f"{first}.npz"
    np.savez(path, features=np.zeros((9, 4)), labels=np.zeros(9, dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:100])
    assert_refused(train_salads(splits, tmp_path / "runs"), f"{first}.npz", "cannot read")
