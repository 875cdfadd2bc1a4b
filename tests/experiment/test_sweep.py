"""Sweeps: one run per combination of values, and the table of their means."""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from sgear.errors import ConfigError, RunError
from sgear.experiment import compose_experiment
from sgear.experiment.compose import load_run_config
from sgear.experiment.sweep import members_of, table_of
from sgear.experiment.train import train_run
from sgear.experiment.tune import candidates
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.training.run import RunDirectory, read_json

SMALL = KitchenConfig(num_train_videos=6, num_validation_videos=4, actions_per_video=20)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sweep") / "kitchen"
    build_kitchen(root, SMALL, num_processes=1, with_videos=False)
    return root


def settings(root: Path, out: Path, *more: str) -> list[str]:
    return ["experiment=smoke/kitchen", f"dataset.root={root}", f"output_root={out}", "optim.epochs=1", *more]


def sweep(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sgear.cli.main", "train", "--sweep", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_members_are_all_combinations_named_after_what_differs(tmp_path):
    found = members_of(settings(Path("k"), tmp_path, "seed=0,1", "optim.lr=1e-3,2e-3"))
    assert [member.run.name for member in found] == [
        f"smoke-kitchen-seed{seed}-lr{lr}" for seed in (0, 1) for lr in ("0.001", "0.002")
    ]
    composed = [compose_experiment(list(member.overrides)) for member in found]
    assert [(config.seed, config.optim.lr) for config in composed] == [(0, 1e-3), (0, 2e-3), (1, 1e-3), (1, 2e-3)]
    assert len(members_of(settings(Path("k"), tmp_path, "dataset.num_folds=5", "dataset.fold=range(5)"))) == 5


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["seed=1"], "needs a setting with several values"),
        (["seed=0,1", "optim.lr=-1"], "out of range"),
        (["seed=0,1", "name=a,b"], "would have one name"),
        (["seed=[0", "optim.lr=1,2"], "cannot be read"),
    ],
)
def test_a_sweep_that_is_none_is_refused_before_anything_is_trained(tmp_path, more, message):
    with pytest.raises(ConfigError, match=message):
        members_of(settings(Path("k"), tmp_path, *more))


def test_several_values_without_a_sweep_name_the_option(tmp_path):
    with pytest.raises(ConfigError, match="--sweep"):
        compose_experiment(settings(Path("k"), tmp_path, "seed=0,1"))


def test_a_failed_member_is_named_the_others_go_on_and_the_sweep_is_taken_up_again(kitchen, tmp_path):
    words = settings(kitchen, tmp_path, "optim.clip_norm=0")
    done = sweep(*words, "optim.lr=1e30,1e-3")
    assert (done.returncode, done.stdout.count("FAILED")) == (2, 1)
    assert "1 members failed" in done.stderr
    good = RunDirectory(tmp_path / "smoke-kitchen-lr0.001")
    before = good.report.stat().st_mtime_ns
    again = sweep(*words, "optim.lr=1e-3,2e-3")
    assert again.returncode == 0, again.stderr
    assert "1 of 2 members are done already" in again.stdout
    assert good.report.stat().st_mtime_ns == before
    # A second seed, whose numbers are known.
    second = RunDirectory(tmp_path / "second")
    shutil.copytree(good.path, second.path)
    second.config.write_text(second.config.read_text().replace("\nseed: 0\n", "\nseed: 1\n"))
    report = read_json(good.report)
    score = report["scores"]["overall"]["action"]["recall5"]
    report["scores"]["overall"]["action"]["recall5"] = score + 0.2
    second.report.write_text(json.dumps(report))
    rows = table_of([good, RunDirectory(tmp_path / "smoke-kitchen-lr0.002"), second])
    assert [(row.settings, len(row.runs)) for row in rows] == [({"optim.lr": "0.001"}, 2), ({"optim.lr": "0.002"}, 1)]
    assert rows[0].means["recall5"] == pytest.approx(score + 0.1)
    assert rows[0].deviations["recall5"] == pytest.approx(statistics.stdev([score, score + 0.2]))
    assert rows[1].deviations["recall5"] is None


def test_a_run_that_was_not_evaluated_is_named(tmp_path):
    with pytest.raises(RunError, match="no such run directory"):
        table_of([RunDirectory(tmp_path / "none")])


def test_resume_auto_starts_where_there_is_nothing_and_goes_on_where_there_is(kitchen, tmp_path):
    reports = []
    for _ in range(2):
        train_run(compose_experiment([*settings(kitchen, tmp_path), "runtime.resume=auto"]))
        reports.append(read_json(tmp_path / "smoke-kitchen" / "report.json")["scores"])
    assert reports[0] == reports[1]
    with pytest.raises(ConfigError, match="choose true, false or auto"):
        compose_experiment(settings(kitchen, tmp_path, "runtime.resume=maybe"))


# --- a quick choice ------------------------------------------------------------------------------------------------


def test_a_choice_is_made_on_folds_of_the_training_people_alone(tmp_path):
    found = candidates([*settings(Path("k"), tmp_path)[:-1], "optim.epochs=8", "optim.warmup_epochs=6"])
    configs = [compose_experiment(list(member.overrides)) for member in found]
    assert {(config.dataset.num_folds, config.dataset.fold) for config in configs} == {(3, fold) for fold in range(3)}
    assert {(config.model.decoder.num_layers == 1, config.optim.epochs) for config in configs} == {
        (is_small, epochs) for is_small in (False, True) for epochs in (8, 4, 2)
    }
    # No candidate warms up for more than half of its training.
    assert all(config.optim.warmup_epochs <= config.optim.epochs / 2 for config in configs)
    assert len({member.run.path for member in found}) == len(found) == 18


@pytest.mark.parametrize(
    ("more", "message"),
    [(["dataset.num_folds=4"], "divides the training people itself"), (["model.name=pooled"], "not of pooled")],
)
def test_what_cannot_be_chosen_is_refused(tmp_path, more, message):
    with pytest.raises(ConfigError, match=message):
        candidates([*settings(Path("k"), tmp_path)[:-1], *more])


@pytest.mark.slow
def test_the_best_candidate_is_trained_on_all_training_people(kitchen, tmp_path):
    words = settings(kitchen, tmp_path)[:-1]
    command = [sys.executable, "-m", "sgear.cli.main", "train", "--tune", *words, "optim.epochs=2", "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    rows = table_of([RunDirectory(path) for path in (tmp_path / "smoke-kitchen-tune").iterdir() if path.name != "logs"])
    best = max(rows, key=lambda row: row.means["recall5"])
    assert "chosen: " + ", ".join(f"{key}={value}" for key, value in best.settings.items()) in done.stdout
    config = load_run_config(tmp_path / "smoke-kitchen" / "config.yaml")
    assert config.dataset.num_folds == 0
    assert str(config.optim.epochs) == best.settings["optim.epochs"]
