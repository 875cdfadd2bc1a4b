"""Reading run directories, and the references beside them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from report_examples import PROTOCOL, make_benchmark, make_log, make_predictions, make_run
from report_run_files import write_run
from rich.console import Console

from sgear.cli.comparison import print_comparison
from sgear.errors import PrototypeError, RunError
from sgear.forecast import Forecast
from sgear.kitchen import KitchenConfig, bayes_ceiling, bayes_scores, build_kitchen
from sgear.metrics import class_mean_recall, top_k_accuracy
from sgear.predictions import Predictions
from sgear.prototypes import LanguagePrototypes
from sgear.report import (
    BAYES_CEILING,
    FREQUENCY_BASELINE,
    collect_run,
    collect_video,
    frequency_reference,
    references_of,
    video_of_predictions,
)
from sgear.training.run import read_json, write_json


@pytest.fixture
def benchmark():
    return make_benchmark(6)


@pytest.fixture
def run(tmp_path, benchmark):
    return write_run(tmp_path / "toy", benchmark)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    config = KitchenConfig(num_train_videos=4, num_validation_videos=2)
    return build_kitchen(tmp_path_factory.mktemp("kitchen"), config, num_processes=1, with_videos=False)


def test_a_run_directory_is_read_whole(run, benchmark):
    collected = collect_run(run.path)
    assert (collected.name, collected.title) == ("toy", "toy")
    assert collected.log == make_log()
    assert collected.predictions.uids == tuple(benchmark.validation.uids)
    assert collected.visual is not None
    assert collected.visual.shape == (6, 32)
    assert collected.language is None


def test_a_model_without_a_bank_has_no_visual_prototypes(tmp_path, benchmark):
    run = write_run(tmp_path / "avt", benchmark, model_name="avt")
    assert collect_run(run.path).visual is None


def test_language_prototypes_are_read_and_checked(run, benchmark, tmp_path):
    file = tmp_path / "language.safetensors"
    vectors = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    LanguagePrototypes(vectors=vectors, texts=("x",) * 6, encoder="toy", taxonomy=benchmark.taxonomy).save(file)
    language = collect_run(run.path, language_file=file).language
    assert language is not None
    torch.testing.assert_close(language, vectors)
    with pytest.raises(PrototypeError, match="no such file"):
        collect_run(run.path, language_file=tmp_path / "absent.safetensors")


@pytest.mark.parametrize("name", ["config", "predictions", "report", "metrics", "provenance"])
def test_a_missing_file_is_named(run, name):
    path = getattr(run, name)
    path.unlink()
    with pytest.raises(RunError, match=path.name.replace(".", r"\.")):
        collect_run(run.path)


def test_a_missing_model_is_named(run):
    (run.model / "model.json").unlink()
    with pytest.raises(RunError, match="holds no trained model"):
        collect_run(run.path)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (lambda scores: scores["overall"]["action"].update(top1=2.0) or scores, "the predictions beside it give"),
        # As an older version wrote it.
        (lambda scores: scores["overall"], "write it again with 'sgear evaluate'"),
    ],
)
def test_a_report_that_contradicts_its_predictions_is_refused(run, scores, words):
    report = read_json(run.report)
    write_json(run.report, report | {"scores": scores(report["scores"])})
    with pytest.raises(RunError, match=words):
        collect_run(run.path)


def test_a_damaged_log_line_is_named_and_a_cut_last_line_is_left_out(run):
    whole = run.metrics.read_text(encoding="utf-8")
    run.metrics.write_text(whole + '{"kind": "train", "st', encoding="utf-8")
    assert collect_run(run.path).log == make_log()
    run.metrics.write_text("nonsense\n" + whole, encoding="utf-8")
    with pytest.raises(RunError, match="line 1 is damaged"):
        collect_run(run.path)


def test_frequency_baseline_equals_the_metrics_of_training_counts(benchmark):
    predictions = make_predictions(benchmark)
    reference = frequency_reference(benchmark)
    counts = np.bincount(benchmark.train.column("action_id"), minlength=6).astype(float)
    ranking = np.stack([counts] * len(predictions))
    assert reference.name == FREQUENCY_BASELINE
    assert reference.scores["top1"] == top_k_accuracy(ranking, predictions.targets, k=1)
    assert reference.scores["recall5"] == class_mean_recall(ranking, predictions.targets, k=5)
    is_unseen = benchmark.validation.column("participant_id") == "P02"
    assert reference.scores["unseen_recall5"] == class_mean_recall(
        ranking[is_unseen], predictions.targets[is_unseen], k=5
    )


def test_only_the_kitchen_has_a_ceiling(kitchen):
    predictions = make_predictions(kitchen)
    names = [ref.name for ref in references_of(kitchen, predictions, dataset="epic100")]
    assert names == [FREQUENCY_BASELINE]
    names = [ref.name for ref in references_of(kitchen, predictions, dataset="kitchen")]
    assert names == [FREQUENCY_BASELINE, BAYES_CEILING]


def test_recognition_has_neither_ceiling_nor_video(kitchen):
    predictions = make_predictions(kitchen, protocol={"kind": "recognition", "num_steps": 4, "jitter": 1.0})
    assert len(references_of(kitchen, predictions, dataset="kitchen")) == 1
    assert video_of_predictions(kitchen, predictions) is None


def test_ceiling_is_the_realised_score_of_the_law(kitchen):
    ceiling = references_of(kitchen, make_predictions(kitchen), dataset="kitchen")[1]
    expected = bayes_ceiling(kitchen.validation)
    assert ceiling.scores["top1"] == expected.top1
    assert ceiling.scores["top5"] == expected.top5
    assert ceiling.scores["recall5"] == expected.class_mean_recall5
    mean_best = bayes_scores(kitchen.validation).max(axis=1).mean()
    assert f"top-1 {100 * mean_best:.1f}" in ceiling.note
    assert "upper bound" not in ceiling.note


def test_ceiling_beyond_the_tau_a_of_the_videos_is_called_a_bound(kitchen):
    later = make_predictions(kitchen, protocol={**PROTOCOL, "tau_a_s": 2.0})
    assert "upper bound" in references_of(kitchen, later, dataset="kitchen")[1].note


def test_video_of_predictions_asks_tau_a_before_each_segment(benchmark):
    predictions = make_predictions(benchmark)
    video = video_of_predictions(benchmark, predictions, top_k=3)
    assert video is not None
    assert video.video_id == "val0"
    starts_s = [start_s for start_s, _, _ in video.truth]
    assert [forecast.now_s + forecast.tau_a_s for forecast in video.forecasts] == starts_s
    best = benchmark.taxonomy.action_names[int(predictions.logits[0].argmax())]
    assert video.forecasts[0].top[0][0] == best
    assert len(video.forecasts[0].top) == 3


def test_a_segment_before_which_nothing_can_be_seen_has_no_forecast(benchmark):
    later = make_predictions(benchmark, protocol={**PROTOCOL, "tau_a_s": 2.0})
    video = video_of_predictions(benchmark, later)
    assert video is not None
    assert len(video.forecasts) == len(video.truth) - 1


def test_video_of_forecasts_has_the_annotated_actions_as_truth(benchmark):
    forecast = Forecast(0.5, 1.0, (("verb0 noun0", 1.0),))
    video = collect_video(benchmark, "val1", iter([forecast]))
    assert video.forecasts == (forecast,)
    assert len(video.truth) == 20
    assert video.truth[0][:2] == (1.5, 3.0)
    with pytest.raises(RunError, match="nothing is annotated"):
        collect_video(benchmark, "absent", [])


def test_a_video_without_validation_segments_is_refused(benchmark):
    with pytest.raises(RunError, match="no validation segment"):
        video_of_predictions(benchmark, make_predictions(benchmark), video_id="absent")


def test_terminal_table_shows_runs_between_the_references(kitchen):
    predictions: Predictions = make_predictions(kitchen)
    report_run = make_run(kitchen, title="model", predictions=predictions)
    console = Console(width=120, record=True, file=io.StringIO())
    print_comparison([report_run], references_of(kitchen, predictions, dataset="kitchen"), console=console)
    lines = console.export_text().splitlines()
    places = [
        next(index for index, line in enumerate(lines) if name in line)
        for name in (FREQUENCY_BASELINE, "model", BAYES_CEILING)
    ]
    assert places == sorted(places)
    assert f"{100 * report_run.report['scores']['overall']['action']['top1']:.1f}" in lines[places[1]]
