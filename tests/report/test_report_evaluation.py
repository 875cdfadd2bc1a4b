"""Figures of subsets, calibration and horizons, and which segments a report counts under which protocol."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_examples import make_benchmark, make_predictions, make_run
from report_run_files import write_run

from sgear.errors import PredictionError, RunError
from sgear.predictions import field_outcomes, score
from sgear.predictions.scoring import evaluated_part, evaluated_rows
from sgear.report import Video, aligned_runs, collect_run, evaluated_runs, frequency_reference, render_report
from sgear.report.classes import recall_by_class
from sgear.report.curves import (
    drawn_metrics,
    horizon_curve,
    reliability_diagram,
    reliability_tables,
    subset_bars,
    subset_intervals,
    subset_sizes,
)
from sgear.report.page import to_svg
from sgear.report.timeline import forecast_timeline
from sgear.scoring import make_report
from sgear.timing import VJepaProtocol
from sgear.training.run import read_json, write_json

BENCHMARK = replace(make_benchmark(12, num_train=200, num_validation=150), tail_noun_ids=frozenset({1, 2}))
MANY_SHOT = replace(BENCHMARK, headline="top5", many_shot_verb_ids=frozenset({0, 1}), many_shot_noun_ids=frozenset({0}))
VJEPA = VJepaProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=8.0).to_dict()


def make_sparse():
    """Return a benchmark with evaluated actions that training never shows."""
    sparse = make_benchmark(40, num_train=40, num_validation=120)
    is_trained = sparse.trained_action_mask[sparse.validation.column("action_id")]
    assert 0 < is_trained.sum() < len(is_trained)
    return sparse


SPARSE = make_sparse()


def make_horizons(scores: dict, *, trained_s: float = 1.0) -> dict:
    action = scores["overall"]["action"]
    near = {name: min(1.0, action[name] + 0.1) for name in ("top1", "top5", "recall5")}
    return {
        "benchmark": "toy",
        "trained_tau_a_s": trained_s,
        "time_to_action_s": 1.25,
        "scores": {"0.5": {"action": near}, "1": {"action": action}},
    }


@pytest.fixture(scope="module")
def run():
    made = make_run(BENCHMARK)
    return replace(made, horizons=make_horizons(made.report["scores"]), visual=None, language=None, log=())


def test_bars_are_the_scores_of_the_report_within_their_intervals(run):
    scores = score(run.predictions, subsets=BENCHMARK.subset_masks)
    intervals = subset_intervals(run.predictions, BENCHMARK)["recall5"]
    assert set(intervals) == {"overall", "unseen", "tail"}
    for subset, by_field in intervals.items():
        for field, interval in by_field.items():
            assert interval.value == pytest.approx(scores[subset][field]["recall5"], abs=1e-12)
            assert interval.low <= interval.value <= interval.high


def test_many_shot_bars_are_class_means_over_frequent_classes():
    predictions = make_predictions(MANY_SHOT)
    scores = score(predictions, many_shot=MANY_SHOT.many_shot_ids)["many_shot"]
    intervals = subset_intervals(predictions, MANY_SHOT)
    assert list(intervals) == drawn_metrics(MANY_SHOT) == ["top5", "recall5"]
    assert "many-shot" not in intervals["top5"]
    for field, interval in intervals["recall5"]["many-shot"].items():
        assert interval.value == pytest.approx(scores[field]["recall5"], abs=1e-12)
    assert subset_sizes(MANY_SHOT)["many-shot"]["action"] == scores["action"]["num_samples"]


def test_no_bar_leaves_its_panel():
    figure = subset_bars([make_run(MANY_SHOT, seed=seed) for seed in (0, 1)], MANY_SHOT)
    assert len(figure.axes) == 6
    for axes in figure.axes:
        highest = max(patch.get_height() for patch in axes.patches)
        assert highest < axes.get_ylim()[1]


def test_calibration_counts_every_segment_and_has_the_error_of_the_report(run):
    tables = reliability_tables([field_outcomes(run.predictions)])
    for field, (table,) in tables.items():
        assert table.counts.sum() == len(run.predictions)
        assert table.ece == pytest.approx(run.report["scores"]["overall"][field]["ece"], abs=1e-12)
    text = to_svg(reliability_diagram(tables, ["run"]), "x")
    assert all(f"ECE {100 * table.ece:.1f}%" in text for (table,) in tables.values())


def test_the_horizon_curve_marks_the_trained_time_and_leaves_out_runs_without_one(run):
    figure = horizon_curve([replace(run, horizons=None), run], ["a", "b"])
    assert figure is not None
    line, ring = figure.axes[0].get_lines()
    np.testing.assert_allclose(line.get_xdata(), [0.5, 1.0])
    recall = run.report["scores"]["overall"]["action"]["recall5"]
    assert line.get_ydata()[1] == recall
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (1.0, recall)
    assert horizon_curve([replace(run, horizons=None)], ["a"]) is None


def test_a_page_says_how_early_actions_are_predicted_where_it_is_known(run):
    page = render_report([run], [], BENCHMARK)
    assert "1.25 s before it starts" in page
    assert 'class="caveat"' not in page
    assert "How far ahead" not in render_report([replace(run, horizons=None)], [], BENCHMARK)


def test_the_cloud_counts_the_evaluated_classes():
    benchmark = make_benchmark(400, num_train=900, num_validation=500)
    run = make_run(benchmark)
    counts = benchmark.train.action_counts()
    below = recall_by_class([run], benchmark.taxonomy.action_names, counts).axes[1]
    evaluated = np.unique(run.predictions.targets)
    assert sum(patch.get_height() for patch in below.patches) == len(evaluated)
    assert below.patches[0].get_height() == (counts[evaluated] == 0).sum()


def test_names_of_overlapping_actions_do_not_cover_each_other():
    video = Video("v", (), ((0.0, 10.0, "wash cup"), (5.0, 12.0, "take lid")))
    lane = forecast_timeline(video).axes[0]
    places = {text.get_text().replace("\n", " "): text.get_position()[0] for text in lane.texts}
    assert places["wash cup"] == pytest.approx(2.5, abs=0.1)
    assert places["take lid"] == pytest.approx(8.5, abs=0.1)


@given(st.integers(0, 2**12 - 1))
def test_only_the_vjepa_protocol_leaves_segments_out(bits):
    is_trained = np.array([bits >> action & 1 for action in range(12)], dtype=bool)
    predictions = make_predictions(BENCHMARK)
    assert evaluated_rows(predictions, is_trained).all()
    end_anchored = replace(predictions, protocol=VJEPA)
    expected = is_trained[predictions.targets]
    if not expected.any():
        with pytest.raises(PredictionError, match="nothing to score"):
            evaluated_rows(end_anchored, is_trained)
        return
    part, subsets = evaluated_part(end_anchored, is_trained, BENCHMARK.subset_masks)
    np.testing.assert_array_equal(part.targets, predictions.targets[expected])
    np.testing.assert_array_equal(subsets["tail"]["noun"], BENCHMARK.subset_masks["tail"]["noun"][expected])


def test_a_mask_of_another_vocabulary_is_refused():
    predictions = make_predictions(BENCHMARK, protocol=VJEPA)
    with pytest.raises(PredictionError, match="12 actions, but the training segments are of 3"):
        evaluated_rows(predictions, np.ones(3, dtype=bool))


def test_a_vjepa_page_counts_the_segments_of_its_report_everywhere():
    predictions = make_predictions(SPARSE, protocol=VJEPA)
    report = make_report(predictions, SPARSE)
    run = replace(make_run(SPARSE, predictions=predictions), report=report, visual=None, language=None, log=())
    (kept,), benchmark = evaluated_runs(aligned_runs([run], SPARSE), SPARSE)
    assert len(kept.predictions) == len(benchmark.validation) == report["num_evaluated"] < report["num_asked"]
    intervals = subset_intervals(kept.predictions, benchmark)["recall5"]
    for subset, by_field in intervals.items():
        for field, interval in by_field.items():
            assert interval.value == pytest.approx(report["scores"][subset][field]["recall5"], abs=1e-12)
    page = render_report([run], [frequency_reference(benchmark)], SPARSE)
    assert 'class="caveat"' in page
    assert f"evaluated {report['num_evaluated']} of 120 segments asked for" in page
    assert page == render_report([kept], [frequency_reference(benchmark)], benchmark)
    assert "never seen" not in re.sub(r"<p class=\"reading\">.*?</p>", "", page)


@pytest.fixture
def vjepa_run(tmp_path):
    predictions = make_predictions(SPARSE, protocol=VJEPA)
    run = write_run(tmp_path / "toy", SPARSE, predictions=predictions)
    write_json(run.report, make_report(predictions, SPARSE))
    return run


def test_a_vjepa_run_is_checked_on_what_its_score_counts(vjepa_run):
    assert len(collect_run(vjepa_run.path, benchmark=SPARSE).predictions) == 120
    report = read_json(vjepa_run.report)
    report["scores"]["overall"]["action"]["top1"] += 0.01
    write_json(vjepa_run.report, report)
    with pytest.raises(RunError, match="the predictions beside it give"):
        collect_run(vjepa_run.path, benchmark=SPARSE)
    with pytest.raises(ValueError, match="give the benchmark"):
        collect_run(vjepa_run.path)


def test_a_report_on_part_of_the_segments_is_refused_under_any_other_protocol(tmp_path):
    run = write_run(tmp_path / "toy", BENCHMARK)
    write_json(run.report, read_json(run.report) | {"num_evaluated": 149})
    with pytest.raises(RunError, match="on 149 segments, but"):
        collect_run(run.path, benchmark=BENCHMARK)


def test_horizons_are_read_and_those_of_another_model_are_refused(tmp_path):
    run = write_run(tmp_path / "toy", BENCHMARK)
    scores = read_json(run.report)["scores"]
    write_json(run.horizons, make_horizons(scores))
    horizons = collect_run(run.path).horizons
    assert horizons is not None
    assert horizons["time_to_action_s"] == 1.25
    write_json(run.horizons, make_horizons(scores, trained_s=0.5))
    with pytest.raises(RunError, match=r"horizons.json: differs by 10.0 points"):
        collect_run(run.path)


@pytest.mark.parametrize("damage", [{}, {"scores": []}, {"trained_tau_a_s": "x"}, {"time_to_action_s": None}])
def test_damaged_horizons_say_how_to_write_them_again(tmp_path, damage):
    run = write_run(tmp_path / "toy", BENCHMARK)
    write_json(run.horizons, make_horizons(read_json(run.report)["scores"]) | damage if damage else {})
    with pytest.raises(RunError, match=r"horizons.json: damaged .* 'sgear evaluate"):
        collect_run(run.path)
