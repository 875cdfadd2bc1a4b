"""The page that compares two models: its numbers are those of the metrics, and it needs nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from report_examples import PROTOCOL, Page, make_benchmark, make_predictions

from sgear.cli.compare import run_compare
from sgear.errors import PredictionError
from sgear.metrics import class_mean_recall, reliability
from sgear.predictions import field_outcomes
from sgear.predictions.compare import compare
from sgear.report.comparison import agreement, class_recalls, recall_scatter, render_comparison, verdict
from sgear.timing import VJepaProtocol

BENCHMARK = replace(
    make_benchmark(12, num_train=200, num_validation=150),
    tail_verb_ids=frozenset({2}),
    tail_noun_ids=frozenset({1, 2}),
)
TITLES = ("first <model>", "second")
SUBSETS = BENCHMARK.subset_masks


@pytest.fixture(scope="module")
def tables():
    return make_predictions(BENCHMARK, seed=0, skill=3.0), make_predictions(BENCHMARK, seed=1, skill=1.0)


@pytest.fixture(scope="module")
def page(tables):
    return render_comparison(*tables, TITLES, subsets=SUBSETS, num_resamples=50)


def _cells(page: str, row: str) -> list[str]:
    found = re.search(rf"{row}</th>(.*?)</tr>", page, re.DOTALL)
    assert found is not None
    return re.findall(r"<td>(.*?)</td>", found.group(1))


def test_the_page_is_whole_and_fetches_nothing(page):
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in Page(page).fetched)
    assert "<script" not in page
    assert "@import" not in page
    assert "first &lt;model&gt; against second" in page
    assert "<model>" not in page


def test_every_subset_has_its_scores_agreement_and_calibration(page):
    for subset in ("overall", "unseen", "tail"):
        for field in ("verb", "noun", "action"):
            assert len(_cells(page, f"{subset} {field}, recall@5")) == 7
            assert len(_cells(page.split("Numbers of segments")[1], f"{subset} {field}, top-5")) == 4
    assert re.findall(r"<h2>(Calibration[^<]*)", page) == ["Calibration", "Calibration, unseen", "Calibration, tail"]


def test_the_scores_of_the_page_are_those_of_the_metrics(page, tables):
    cells = _cells(page, "overall action, recall@5")
    recalls = [100 * class_mean_recall(table.logits, table.targets) for table in tables]
    assert cells[:3] == [*(f"{value:.1f}" for value in recalls), f"{recalls[0] - recalls[1]:+.1f}"]
    mask = SUBSETS["tail"]["action"]
    recall = class_mean_recall(tables[0].logits[mask], tables[0].targets[mask])
    assert _cells(page, "tail action, recall@5")[0] == f"{100 * recall:.1f}"


def test_the_calibration_errors_are_those_of_the_metrics(page, tables):
    for table in tables:
        is_right = table.logits.argmax(axis=1) == table.targets
        error = reliability(table.probs.max(axis=1), is_right).ece
        assert f"ECE {100 * error:.1f}%" in page


def test_agreement_counts_every_segment_once(tables):
    first, second = (field_outcomes(table)["noun"] for table in tables)
    rows = SUBSETS["unseen"]["noun"]
    both, only_first, only_second, neither = agreement(first, second, rows, 5)
    assert both + only_first + only_second + neither == rows.sum()
    assert both + only_first == first.hits(5)[rows].sum()
    assert both + only_second == second.hits(5)[rows].sum()


def test_each_dot_of_the_scatter_is_a_class_with_segments(tables):
    outcomes = [field_outcomes(table) for table in tables]
    recalls, counts = class_recalls(*(outcome["action"] for outcome in outcomes))
    assert counts.sum() == len(tables[0])
    np.testing.assert_allclose(
        np.nanmean(recalls[0]), class_mean_recall(tables[0].logits, tables[0].targets), rtol=1e-12
    )
    figure = recall_scatter(outcomes[0], outcomes[1], TITLES)
    dots = figure.axes[-1].collections[0]
    assert len(dots.get_offsets()) == (counts > 0).sum()
    sizes = dots.get_sizes()
    assert np.argmax(sizes) == np.argmax(counts[counts > 0])


def test_the_verdict_names_the_better_model_or_none(tables):
    good, poor = tables
    swapped = compare(poor, good, num_resamples=50)
    assert "second is better: first <model>" in verdict(swapped, TITLES)
    assert "does not tell the two apart" in verdict(compare(good, good, num_resamples=50), TITLES)


def test_a_model_against_itself_makes_a_page_without_changed_classes(tables):
    page = render_comparison(tables[0], tables[0], ("a", "b"), num_resamples=20)
    assert "Classes gained and lost" not in page
    assert _cells(page, "overall verb, top-1")[2:5] == ["+0.0", "+0.0 to +0.0", "1.000"]


def test_models_in_another_order_of_segments_give_the_same_page(page, tables):
    first, second = tables
    shuffled = second.aligned_to(second.uids[::-1])
    assert render_comparison(first, shuffled, TITLES, subsets=SUBSETS, num_resamples=50) == page


@pytest.mark.parametrize("is_known", [False, True])
def test_what_must_not_be_compared_is_refused(tables, is_known):
    known = compare(*tables, num_resamples=20) if is_known else None
    whole = tables[0]
    later = replace(whole, protocol={**PROTOCOL, "tau_a_s": 0.5})
    short = whole.take(np.arange(1, len(whole)))
    other = make_predictions(make_benchmark(4, num_validation=150))
    for second, words in (
        (later, "different protocols"),
        (short, "1 uids missing"),
        (other, "different vocabularies"),
    ):
        with pytest.raises(PredictionError, match=words):
            render_comparison(whole, second, TITLES, result=known)


def test_the_vjepa_protocol_carries_its_caveat(tables, page):
    protocol = VJepaProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=8.0).to_dict()
    first, second = (replace(table, protocol=protocol) for table in tables)
    assert "must not stand beside" in render_comparison(first, second, TITLES, num_resamples=20)
    assert "must not stand beside" not in page


def test_the_command_writes_the_page_and_says_so(tables, tmp_path, capsys):
    files = [tmp_path / "camera.safetensors", tmp_path / "hand.safetensors"]
    for table, file in zip(tables, files, strict=True):
        table.save(file)
    out = tmp_path / "pages" / "both.html"
    run_compare(*files, False, out=out, num_resamples=20)
    assert "<h1>camera against hand</h1>" in out.read_text(encoding="utf-8")
    assert f"wrote {out}" in capsys.readouterr().out.replace("\n", "")
    assert [path.name for path in out.parent.iterdir()] == ["both.html"]
