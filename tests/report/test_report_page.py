"""The page as a whole: what it holds, what it refuses, and that it needs nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from report_examples import PROTOCOL, Page, make_benchmark, make_predictions, make_run, make_video

from sgear.errors import PredictionError
from sgear.report import BAYES_CEILING, Reference, aligned_runs, frequency_reference, render_report, score_rows
from sgear.report.tables import provenance_table


@pytest.fixture(scope="module")
def benchmark():
    return make_benchmark(odd_name="<b>cup</b> & $x$ ")


@pytest.fixture(scope="module")
def runs(benchmark):
    return [
        make_run(benchmark, title="plain <script>alert(1)</script>", seed=0),
        make_run(
            benchmark, title="better & bolder", seed=1, predictions=make_predictions(benchmark, seed=1, skill=3.0)
        ),
    ]


@pytest.fixture(scope="module")
def references(benchmark, runs):
    ceiling = Reference(BAYES_CEILING, {"top1": 0.95, "top5": 1.0, "recall5": 1.0}, "made up & <exact>")
    return [ceiling, frequency_reference(benchmark)]


@pytest.fixture(scope="module")
def text(benchmark, runs, references):
    return render_report(runs, references, benchmark, video=make_video())


def test_page_has_all_sections_in_order(text):
    assert Page(text).headings == [
        "Scores",
        "Measured on",
        "Provenance",
        "Learning curves",
        "Verbs, nouns, actions",
        "Recall per class",
        "Recall per frequency band",
        "Calibration",
        "Confusion of verbs and of nouns",
        "Prototype similarity",
        "Do words and images agree?",
        "Forecast timeline",
    ]


def test_page_fetches_nothing(text):
    page = Page(text)
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", text)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.fetched)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)


def test_names_are_escaped_everywhere(text):
    assert "<script>" not in text
    assert "<b>cup" not in text
    assert "plain &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "made up &amp; &lt;exact&gt;" in text
    assert "&lt;b&gt;cup&lt;/b&gt; &amp; $x$" in text


def test_an_id_that_repeats_names_the_same_thing(text):
    bodies: dict[str, set[str]] = {}
    for match in re.finditer(r'<(path|clipPath) id="([^"]+)"([^>]*>\s*(?:<(?:rect|path)[^>]*>)?)', text):
        bodies.setdefault(match[2], set()).add(match[3])
    assert len(bodies) > 10
    assert all(len(body) == 1 for body in bodies.values())
    assert text.count(" id=") == len(re.findall(r'<(?:path|clipPath|image) [^>]*id="', text))


def test_table_shows_the_numbers_of_the_reports_between_baseline_and_ceiling(text, runs, references):
    rows = [row for row in Page(text).rows if row and row[0]]
    names = ["frequency baseline", runs[0].title, runs[1].title, BAYES_CEILING]
    table = rows[: len(names)]
    assert [row[0] for row in table] == names
    for row, run in zip(table[1:3], runs, strict=True):
        action = run.report["scores"]["overall"]["action"]
        assert row[1:4] == [f"{100 * action[name]:.1f}" for name in ("top1", "top5", "recall5")]
    low, top = references[1].scores["recall5"], runs[1].report["scores"]["overall"]["action"]["recall5"]
    assert table[2][-1] == f"{100 * (top - low) / (1.0 - low):.0f}%"


def test_page_says_how_many_segments_were_asked_evaluated_and_from_the_prior(text):
    assert "evaluated 60 of 60 segments asked for, 2 of them from the class prior" in text


def test_page_shows_commit_seed_and_versions(text):
    rows = Page(text).rows
    assert ["plain <script>alert(1)</script>", "0"] in rows
    assert "<dd>abc123</dd>" in text
    assert "<dt>torch</dt><dd>2.0</dd>" in text


def test_same_runs_give_the_same_page(benchmark, runs, references, text):
    assert render_report(runs, references, benchmark, video=make_video()) == text


def test_one_bare_run_makes_a_page_without_the_sections_it_has_nothing_for(benchmark):
    bare = replace(make_run(benchmark), log=(), visual=None, language=None, provenance={})
    headings = Page(render_report([bare], [], benchmark)).headings
    assert headings == [
        "Scores",
        "Measured on",
        "Verbs, nouns, actions",
        "Recall per class",
        "Recall per frequency band",
        "Calibration",
        "Confusion of verbs and of nouns",
    ]


def short(table):
    return replace(table, uids=table.uids[1:], logits=table.logits[1:], targets=table.targets[1:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: replace(table, protocol={**PROTOCOL, "tau_a_s": 2.0}), "different protocols"),
        (lambda table: make_predictions(make_benchmark(4)), "vocabular"),
        (short, "1 uids missing"),
        (lambda table: replace(table, targets=np.roll(table.targets, 1)), "true actions"),
    ],
)
def test_runs_that_must_not_stand_side_by_side_are_refused(benchmark, change, words):
    whole = make_run(benchmark)
    with pytest.raises(PredictionError, match=words):
        aligned_runs([whole, make_run(benchmark, predictions=change(whole.predictions))], benchmark)


def test_runs_of_another_vocabulary_than_the_benchmark_are_refused(benchmark):
    with pytest.raises(PredictionError, match="another vocabulary"):
        aligned_runs([make_run(make_benchmark(4))], benchmark)


def test_predictions_in_another_order_are_aligned_to_the_benchmark(benchmark):
    whole = make_predictions(benchmark)
    shuffled = whole.aligned_to(whole.uids[::-1])
    (run,) = aligned_runs([make_run(benchmark, predictions=shuffled)], benchmark)
    np.testing.assert_array_equal(run.predictions.logits, whole.logits)


def test_share_of_the_way_is_absent_without_a_ceiling(benchmark, runs):
    rows = score_rows(runs, [frequency_reference(benchmark)])
    assert [row.kind for row in rows] == ["reference", "run", "run"]
    assert all(row.shares == {} for row in rows)


def test_runs_of_one_name_are_told_apart_by_seed(benchmark):
    rows = score_rows([make_run(benchmark, seed=3), make_run(benchmark, seed=4)], [])
    assert [row.name for row in rows] == ["model, seed 3", "model, seed 4"]


def test_sentences_of_the_provenance_are_broken_over_lines_and_numbers_are_not(runs):
    caveat = "an oracle of the past, to compare with and not to submit; " * 3
    first = replace(runs[0], provenance={"seed": 0, "caveat": caveat})
    table = provenance_table([first, replace(runs[1], provenance={"seed": 1})])
    assert table["own"] == {"seed": ["0", "1"], "caveat": [caveat, "none"]}
    assert table["is_text"] == {"seed": False, "caveat": True}
