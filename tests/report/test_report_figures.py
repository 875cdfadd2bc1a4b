"""The figures: from one class to three thousand, and the numbers they draw."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from report_examples import make_benchmark, make_run, make_video

from sgear.forecast import Forecast
from sgear.report import Video
from sgear.report.classes import confusion_matrix, frequency_bands, part_confusion, recall_by_band, recall_by_class
from sgear.report.curves import horizon_curve, learning_curves
from sgear.report.page import percent_axis, to_svg
from sgear.report.prototype_figures import (
    PrototypeSet,
    cluster_order,
    heat_maps,
    similarity_agreement,
)
from sgear.report.timeline import forecast_timeline, outcomes


def _tick_names(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def set_of(title: str, vectors: torch.Tensor) -> PrototypeSet:
    return PrototypeSet(title=title, source="made", vectors=vectors)


@pytest.mark.parametrize("num_actions", [1, 40])
def test_every_figure_can_be_drawn(num_actions):
    benchmark = make_benchmark(num_actions, num_train=60, num_validation=50)
    run = make_run(benchmark)
    taxonomy, counts = benchmark.taxonomy, benchmark.train.action_counts()
    verbs = part_confusion(run.predictions, "verb")
    figures = [
        recall_by_class([run], taxonomy.action_names, counts),
        recall_by_band([run], counts),
        confusion_matrix(verbs, taxonomy.verbs, part="verb"),
        heat_maps([set_of("language", run.language), set_of("visual", run.visual)], taxonomy.action_names),
    ]
    assert all(figure is not None and to_svg(figure, "x").startswith("<svg") for figure in figures)


def test_three_thousand_classes_become_a_cloud_of_bounded_size():
    benchmark = make_benchmark(3000, num_train=4000, num_validation=600)
    run = make_run(benchmark)
    counts = benchmark.train.action_counts()
    figure = recall_by_class([run, run], benchmark.taxonomy.action_names, counts)
    assert len(to_svg(figure, "recall")) < 400_000
    matrices = heat_maps([set_of("visual", run.visual)], benchmark.taxonomy.action_names)
    assert len(to_svg(matrices, "cosines")) < 1_000_000


def test_classes_are_named_from_frequent_to_rare():
    benchmark = make_benchmark(6)
    counts = benchmark.train.action_counts()
    axes = recall_by_class([make_run(benchmark)], benchmark.taxonomy.action_names, counts).axes[0]
    evaluated = np.unique(benchmark.validation.column("action_id"))
    expected = [benchmark.taxonomy.action_names[a] for a in sorted(evaluated, key=lambda a: (-counts[a], a))]
    assert _tick_names(axes) == expected


@given(st.lists(st.integers(0, 40), min_size=1, max_size=80))
def test_bands_hold_every_class_once_from_frequent_to_rare(counts):
    bands = frequency_bands(np.array(counts))
    assert sorted(action for band in bands for action in band.classes.tolist()) == list(range(len(counts)))
    assert all(first.low > second.high for first, second in pairwise(bands))


def test_bands_of_distinct_counts_are_thirds():
    bands = frequency_bands(np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    assert [(band.name, len(band.classes)) for band in bands] == [
        ("head", 3),
        ("middle", 3),
        ("tail", 3),
        ("never seen", 2),
    ]


def test_confusion_counts_true_in_rows_and_predicted_in_columns():
    benchmark = make_benchmark(4, num_validation=30)
    run = make_run(benchmark)
    verb_of_action = benchmark.taxonomy.verb_of_action
    counts = part_confusion(run.predictions, "verb")
    expected = np.zeros_like(counts)
    for probs, target in zip(run.predictions.probs, run.predictions.targets, strict=True):
        verb_probs = [probs[verb_of_action == verb].sum() for verb in range(len(counts))]
        expected[verb_of_action[target], int(np.argmax(verb_probs))] += 1
    np.testing.assert_array_equal(counts, expected)


def test_confusion_shows_at_most_25_rows_and_gathers_the_rest():
    counts = np.eye(40, dtype=np.int64) * 3
    counts[0, 39] = 5
    axes = confusion_matrix(counts, [f"noun{index}" for index in range(40)], part="noun").axes[0]
    shares = np.asarray(axes.images[0].get_array())
    assert shares.shape == (25, 26)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert shares[0, 25] == pytest.approx(5 / 8)


def test_learning_curves_have_one_panel_per_term_and_one_for_validation():
    figure = learning_curves([make_run(make_benchmark(4))])
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == ["total", "next action (cls)", "validation"]


def test_clusters_put_equal_prototypes_next_to_each_other():
    families = np.array([0, 1, 0, 1, 0, 1])
    similarity = np.where(families[:, None] == families[None], 0.9, 0.1)
    ordered = families[cluster_order(similarity)]
    assert (np.diff(ordered) != 0).sum() == 1


def test_agreement_of_a_space_with_itself_is_one():
    vectors = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    figure = similarity_agreement(set_of("a", vectors), set_of("b", 2 * vectors), [f"a{index}" for index in range(8)])
    assert figure is not None
    assert "+1.00 over 28 pairs" in figure.axes[0].get_title(loc="left")


def test_outcomes_use_only_forecasts_about_the_start_or_before():
    video = make_video()
    assert [(judged.action, judged.rank) for judged in outcomes(video)] == [
        ("open fridge", 1),
        ("take milk", 0),
        ("close fridge", 1),
    ]


def test_a_forecast_about_a_later_instant_does_not_count():
    late = Forecast(2.1, 1.0, (("stir pot", 1.0),))
    video = Video("v", (late,), ((3.0, 4.0, "stir pot"),))
    assert outcomes(video)[0].rank is None


def test_timeline_breaks_a_long_video_into_staves():
    names = [f"action {index % 17}" for index in range(45)]
    truth = tuple((2.0 * index, 2.0 * index + 1.5, name) for index, name in enumerate(names))
    forecasts = tuple(Forecast(start_s - 1, 1.0, ((name, 0.5),)) for start_s, _, name in truth[1:])
    figure = forecast_timeline(Video("v", forecasts, truth))
    assert len(figure.axes) == 4
    assert _tick_names(figure.axes[0])[:4] == ["what happened", "foreseen", "action 0", "action 1"]


def test_timeline_of_a_video_without_forecasts_shows_the_truth():
    figure = forecast_timeline(Video("v", (), ((0.0, 1.0, "open fridge"),)))
    assert "open fridge" in _tick_names(figure.axes[0])


def _horizons(scores: dict[float, float], *, trained_at_s: float) -> dict:
    by_tau_a = {f"{tau_a:g}": {"action": dict.fromkeys(("top1", "top5", "recall5"), v)} for tau_a, v in scores.items()}
    return {"scores": by_tau_a, "trained_tau_a_s": trained_at_s}


def test_marks_of_the_horizon_curve_are_whole_and_lie_within_the_panel():
    # Recalls between 2 and 15 %: the ticks of such a panel are 2.5 points apart.
    horizons = _horizons({0.5: 0.139, 1.0: 0.149, 2.0: 0.0}, trained_at_s=1.0)
    figure = horizon_curve([replace(make_run(make_benchmark()), horizons=horizons)], ["run"])
    assert figure is not None
    figure.canvas.draw()
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low == 0
        assert high > 0.149 * 1.08
        assert not any(line.get_clip_on() for line in axes.get_lines())


@pytest.mark.parametrize("high", [0.001, 0.003, 0.02, 0.156, 0.31, 1.0])
@pytest.mark.parametrize("which", ["x", "y"])
def test_ticks_in_percent_say_exactly_where_they_stand(high, which):
    figure = Figure()
    axes = figure.subplots()
    (axes.set_xlim if which == "x" else axes.set_ylim)(0, high)
    percent_axis(axes, which=which)
    figure.canvas.draw()
    axis = axes.xaxis if which == "x" else axes.yaxis
    names = [label.get_text() for label in axis.get_ticklabels()]
    assert len(set(names)) == len(names)
    for name, place in zip(names, axis.get_ticklocs(), strict=True):
        assert float(name.removesuffix("%")) == pytest.approx(100 * place, abs=1e-6)
