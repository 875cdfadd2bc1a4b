"""The page as a whole: what it holds, what it refuses, and that it needs nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_examples import PROTOCOL, make_benchmark, make_predictions, make_run, make_video

from sgear.errors import PredictionError
from sgear.report import BAYES_CEILING, Reference, aligned_runs, frequency_reference, score_rows, write_report
from sgear.report.sections import render_report
from sgear.report.tables import provenance_table


class Page(HTMLParser):
    """Collects headings, table cells by row, and everything that a browser would fetch."""

    _VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self._VOID:
            self._open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value is not None:
                self.fetched.append(value)
        if tag == "h2":
            self.headings.append("")
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self._VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if "h2" in self._open:
            self.headings[-1] += data
        elif "td" in self._open or ("th" in self._open and "tr" in self._open):
            self.rows[-1][-1] += data


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
    return [ceiling, frequency_reference(benchmark, runs[0].predictions)]


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


def test_runs_of_different_protocols_are_refused_and_nothing_is_written(benchmark, tmp_path: Path):
    later = make_predictions(benchmark, protocol={**PROTOCOL, "tau_a_s": 2.0})
    out = tmp_path / "report.html"
    with pytest.raises(PredictionError, match="different protocols"):
        write_report([make_run(benchmark), make_run(benchmark, predictions=later)], [], benchmark, out)
    assert list(tmp_path.iterdir()) == []


def test_runs_of_another_vocabulary_than_the_benchmark_are_refused(benchmark):
    other = make_benchmark(4)
    with pytest.raises(PredictionError, match="another vocabulary"):
        aligned_runs([make_run(other)], benchmark)


def test_a_run_that_lacks_a_segment_is_refused(benchmark):
    whole = make_predictions(benchmark)
    short = replace(whole, uids=whole.uids[1:], logits=whole.logits[1:], targets=whole.targets[1:])
    with pytest.raises(PredictionError, match="1 uids missing"):
        aligned_runs([make_run(benchmark, predictions=short)], benchmark)


def test_a_run_with_other_true_actions_is_refused(benchmark):
    whole = make_predictions(benchmark)
    wrong = replace(whole, targets=np.roll(whole.targets, 1))
    with pytest.raises(PredictionError, match="true actions"):
        aligned_runs([make_run(benchmark, predictions=wrong)], benchmark)


def test_predictions_in_another_order_are_aligned_to_the_benchmark(benchmark):
    whole = make_predictions(benchmark)
    shuffled = whole.aligned_to(whole.uids[::-1])
    (run,) = aligned_runs([make_run(benchmark, predictions=shuffled)], benchmark)
    np.testing.assert_array_equal(run.predictions.logits, whole.logits)


def test_no_run_is_a_wrong_argument(benchmark):
    with pytest.raises(ValueError, match="at least one run"):
        aligned_runs([], benchmark)


def test_write_report_replaces_the_file_and_leaves_no_part(benchmark, tmp_path: Path):
    out = tmp_path / "deep" / "report.html"
    out.parent.mkdir()
    out.write_text("old")
    write_report([replace(make_run(benchmark), log=(), visual=None)], [], benchmark, out)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_share_of_the_way_is_absent_without_a_ceiling(benchmark, runs):
    rows = score_rows(runs, [frequency_reference(benchmark, runs[0].predictions)])
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
