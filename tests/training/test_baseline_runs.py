"""Baselines through the pipeline of every other model: trained, evaluated, compared, fused, reported."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sgear.cli.compare import run_fuse
from sgear.cli.main import app
from sgear.data import AnnotationSource, StepLabels
from sgear.datasets.own import import_own
from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.experiment.build import load_benchmark
from sgear.experiment.evaluate import evaluate_horizons, evaluate_run, predict_split
from sgear.experiment.train import train_run
from sgear.models import LastAction
from sgear.models.pretrained import load_model
from sgear.predictions import Predictions
from sgear.training.run import RunDirectory, read_json

ORACLE_CAVEAT = LastAction.caveat


def train(root: Path, name: str, *overrides: str) -> RunDirectory:
    settings = [f"output_root={root}", f"dataset.root={root / 'kitchen'}", "runtime.device=cpu", *overrides]
    return train_run(compose_experiment(["experiment=kitchen/last_action", *settings, f"name={name}"]))


@pytest.fixture(scope="module")
def last_action(root: Path) -> RunDirectory:
    return train(root, "last-action")


@pytest.fixture(scope="module")
def frequency(root: Path) -> RunDirectory:
    return train(root, "frequency", "model.name=frequency")


def test_the_files_are_those_of_every_run_and_evaluating_again_gives_the_same(last_action):
    names = {path.name for path in last_action.path.iterdir()}
    assert names >= {"config.yaml", "run.json", "metrics.jsonl", "model", "predictions", "report.json"}
    before, report = Predictions.load(last_action.predictions), read_json(last_action.report)
    assert evaluate_run(last_action.path) == report
    assert np.array_equal(Predictions.load(last_action.predictions).logits, before.logits)


def test_the_report_and_the_commands_say_that_the_past_was_annotated(root, last_action, frequency):
    assert read_json(last_action.report)["caveat"] == ORACLE_CAVEAT
    assert "caveat" not in read_json(frequency.report)
    done = CliRunner().invoke(app, ["compare", str(last_action.path), str(frequency.path)], env={"COLUMNS": "400"})
    assert f"last-action: {ORACLE_CAVEAT}" in done.output
    out = root / "report.html"
    done = CliRunner().invoke(app, ["report", str(frequency.path), str(last_action.path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "reads the ANNOTATED actions" in out.read_text()


def test_a_fused_model_keeps_the_warning(root, last_action, frequency, capsys):
    fused = root / "fused.safetensors"
    run_fuse([last_action.path, frequency.path], [1.0, 1.0], "probs", fused, None, None, None, metric="recall5")
    assert "reads the ANNOTATED actions" in " ".join(capsys.readouterr().out.split())
    done = CliRunner().invoke(app, ["evaluate", str(fused), "--dataset", "kitchen", "--root", str(root / "kitchen")])
    assert "reads the ANNOTATED actions" in " ".join(done.output.split())


def test_horizons_of_the_last_action_grow_harder_with_time(last_action):
    curve = evaluate_horizons(last_action.path, [1.0, 8.0])
    near, far = (curve["scores"][name]["action"]["top5"] for name in ("1", "8"))
    assert near > far


@pytest.mark.parametrize(("name", "least"), [("last_recognised", 30), ("pooled", 40)])
def test_a_baseline_on_features_is_trained_saved_loaded_and_evaluated(root, name, least):
    features = ["source.kind=features", "source.features=oracle", "model.encoder.feature_dim=64", "model.max_steps=6"]
    run = train(root, name, f"model.name={name}", *features)
    before, report = Predictions.load(run.predictions), read_json(run.report)
    assert report["is_benchmark"] is True
    assert report["scores"]["overall"]["action"]["top5"] > least / 100
    assert evaluate_run(run.path) == report
    assert np.array_equal(Predictions.load(run.predictions).logits, before.logits)


def train_on_own(root: Path, rows: list[str], **smoothing: str) -> dict[str, RunDirectory]:
    """Train both baselines that count on own data."""
    (root / "own.csv").write_text("\n".join(["video,split,start,stop,label", *rows]) + "\n")
    assert import_own(root / "own.csv", root / "own").is_accepted
    data = ["dataset.name=csv", f"dataset.root={root / 'own'}"]
    changes = {"last_action": [f"model.counts.smoothing={value}" for value in smoothing.values()], "frequency": []}
    return {name: train(root, name, *data, f"model.name={name}", *changes[name]) for name in changes}


def test_a_test_split_without_labels_is_refused_by_the_last_action_and_answered_by_frequency(tmp_path):
    rows = ["a,train,2,4,x", "a,train,5,6,y", "b,validation,2,4,x", "b,validation,5,6,y", "c,test,3,4,", "c,test,6,7,"]
    runs = train_on_own(tmp_path, rows)
    with pytest.raises(ConfigError, match=r"1 of 1 videos of this split have none, first 'c'.*not published"):
        predict_split(runs["last_action"].path, split="test")
    predictions, _ = predict_split(runs["frequency"].path, split="test")
    assert len(predictions) == 2
    assert not predictions.is_labelled


def test_actions_that_nothing_can_be_seen_before_are_counted(tmp_path):
    rows = ["a,train,0,4,x", "a,train,5,6,y", "b,validation,2,4,x", "b,validation,5,6,y"]
    runs = train_on_own(tmp_path, rows, smoothing="1e-6")
    probs = {name: load_model(run.model).model.log_probs.exp().numpy() for name, run in runs.items()}
    x, y = 0, 1
    # Row 0 is the start of a video, row x + 1 what follows x.
    assert probs["last_action"][[0, x + 1], [x, y]] == pytest.approx(1.0, abs=1e-3)
    assert probs["frequency"][0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["source.kind=features", "source.features=oracle"], r"model\.name=last_action and source\.kind=features"),
        (["model.name=rulstm"], r"model\.name=rulstm and source\.kind=annotations do not belong together"),
        (["model.name=avt"], r"model\.encoder\.name=features and source\.kind=annotations do not belong together"),
        (["optim.lr=1"], r"optim\.lr=1\.0 has no effect with model\.name=last_action"),
        (
            ["model.name=frequency", "model.counts.smoothing=2"],
            r"frequency has no setting model\.counts\.smoothing",
        ),
        (["model.counts.smoothing=0"], r"model\.counts\.smoothing=0\.0 is out of range; it takes a number above 0"),
        (["init.freeze=[encoder]"], r"init\.freeze=\[encoder\] has no effect"),
        (["source.pool_s=1"], r"source\.kind=annotations has no setting source\.pool_s"),
    ],
)
def test_settings_that_a_counted_baseline_does_not_read_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose_experiment(["experiment=kitchen/last_action", *overrides])


# --- what is read --------------------------------------------------------------------------------------------------


def test_a_step_is_the_newest_action_and_nothing_later_or_nothing_where_it_is_not_read(root):
    config = compose_experiment(["experiment=kitchen/last_action", f"dataset.root={root / 'kitchen'}"])
    benchmark = load_benchmark(config.dataset)
    video_id = benchmark.validation.video_ids[0]
    segments = list(benchmark.timeline.of_video(video_id))
    source = AnnotationSource(StepLabels(benchmark.timeline), num_steps=4)
    for segment in segments[3:8]:
        instants_s = segment.start_s - np.array([3.5, 2.5, 1.5, 0.5])
        steps = source.read(video_id, instants_s, None).steps[:, 0]
        for number, instant_s in zip(steps.tolist(), instants_s.tolist(), strict=True):
            begun = [each for each in segments if each.start_s <= instant_s]
            expected = begun[-1].action_id + 1 if begun and begun[-1].stop_s > instants_s[0] else 0
            assert number == expected
    unread = AnnotationSource(StepLabels(benchmark.timeline), num_steps=2, is_read=False)
    assert unread.read(video_id, np.array([20.0, 21.0]), None).steps.tolist() == [[0], [0]]


def test_an_oracle_is_no_benchmark_number_anywhere(last_action: RunDirectory, frequency: RunDirectory):
    horizons = evaluate_horizons(last_action.path, [1.0, 2.0])
    compared = CliRunner().invoke(app, ["compare", str(last_action.path), str(last_action.path), "--json"])
    for numbers in (read_json(last_action.report), horizons, json.loads(compared.stdout)):
        assert numbers["is_benchmark"] is False
        assert ORACLE_CAVEAT in (numbers.get("caveat") or " ".join(numbers["caveats"]))
    assert evaluate_horizons(frequency.path, [1.0])["is_benchmark"] is True
