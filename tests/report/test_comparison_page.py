"""The page that compares two models, and the figures of subsets, horizons and calibration."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_examples import PROTOCOL, make_benchmark, make_log, make_predictions

from sgear.errors import PredictionError
from sgear.metrics import class_mean_recall
from sgear.predictions import score
from sgear.report import ReportRun
from sgear.report.comparison_page import render_comparison, write_comparison
from sgear.report.horizon_plot import horizon_curve
from sgear.report.html import render_report
from sgear.report.reliability_plot import calibration_of
from sgear.timing import VJepaProtocol

BENCHMARK = replace(make_benchmark(12, num_train=200, num_validation=150), tail_noun_ids=frozenset({1, 2}))
TITLES = ("first <model>", "second")
HORIZONS = {
    "benchmark": "toy",
    "trained_tau_a_s": 1.0,
    "time_to_action_s": 1.25,
    "scores": {
        "0.5": {"action": {"top1": 0.4, "top5": 0.8, "recall5": 0.7}},
        "1": {"action": {"top1": 0.3, "top5": 0.7, "recall5": 0.6}},
    },
}


class Wellformed(HTMLParser):
    """Counts open elements; void ones stand alone."""

    VOID = ("meta", "br", "img", "path", "use", "rect", "image", "circle")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def make_run(*, skill: float = 2.0, seed: int = 0, **settings) -> ReportRun:
    predictions = make_predictions(BENCHMARK, seed=seed, skill=skill, protocol=settings.pop("protocol", None))
    report = {
        "scores": score(predictions, subsets=BENCHMARK.subset_masks),
        "num_asked": len(predictions),
        "num_evaluated": len(predictions),
        "num_from_prior": 0,
    }
    return ReportRun(name="run", title="run", predictions=predictions, report=report, log=make_log(), **settings)


def compare_page(**settings) -> str:
    first, second = (make_predictions(BENCHMARK, seed=seed, skill=skill) for seed, skill in ((0, 3.0), (1, 1.0)))
    return render_comparison(first, second, TITLES, subsets=BENCHMARK.subset_masks, num_resamples=50, **settings)


def test_the_page_is_whole_and_fetches_nothing():
    page = compare_page()
    parser = Wellformed()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"(src|href)=['\"](?!#)", page)
    assert "first &lt;model&gt; against second" in page
    assert "<model>" not in page


def test_the_numbers_of_the_page_are_those_of_the_metrics():
    page = compare_page()
    first, second = (make_predictions(BENCHMARK, seed=seed, skill=skill) for seed, skill in ((0, 3.0), (1, 1.0)))
    row = re.search(r"overall action, recall@5</th>(.*?)</tr>", page)
    assert row is not None
    cells = re.findall(r"<td>(.*?)</td>", row.group(1))
    recalls = [100 * class_mean_recall(table.logits, table.targets) for table in (first, second)]
    assert cells[:2] == [f"{value:.1f}" for value in recalls]
    assert cells[2] == f"{recalls[0] - recalls[1]:+.1f}"


def test_agreement_adds_up_to_all_segments():
    page = compare_page()
    table = page[page.index("Where they agree") :]
    for row in re.findall(r"top-\d</th>(.*?)</tr>", table):
        shares = [float(cell) for cell in re.findall(r"<td>([\d.]+)</td>", row)]
        assert sum(shares) == pytest.approx(100, abs=0.25)


def test_models_of_different_protocols_are_not_compared(tmp_path):
    first = make_predictions(BENCHMARK)
    second = make_predictions(BENCHMARK, protocol={**PROTOCOL, "tau_a_s": 0.5})
    with pytest.raises(PredictionError, match="different protocols"):
        write_comparison(first, second, TITLES, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_a_report_shows_subsets_calibration_and_the_horizon_curve():
    page = render_report([make_run(horizons=HORIZONS)], [], BENCHMARK)
    for text in ("Verbs, nouns, actions", "Calibration", "How far ahead", "1.25 s before"):
        assert text in page


def test_without_horizons_there_is_no_curve():
    assert horizon_curve([make_run()], ["run"]) is None
    assert "How far ahead" not in render_report([make_run()], [], BENCHMARK)


def test_runs_without_horizons_stand_beside_runs_with_them():
    figure = horizon_curve([make_run(), make_run(horizons=HORIZONS)], ["a", "b"])
    assert figure is not None
    lines = figure.axes[0].get_lines()
    np.testing.assert_allclose(lines[0].get_xdata(), [0.5, 1.0])
    np.testing.assert_allclose(lines[0].get_ydata(), [0.7, 0.6])


def test_reliability_counts_every_segment():
    tables = calibration_of([make_run()])
    assert {field: int(table[0].counts.sum()) for field, table in tables.items()} == dict.fromkeys(tables, 150)


def test_a_vjepa_report_carries_its_caveat():
    protocol = VJepaProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=8.0).to_dict()
    assert "must not stand beside" in render_report([make_run(protocol=protocol)], [], BENCHMARK)
    assert "must not stand beside" not in render_report([make_run()], [], BENCHMARK)
