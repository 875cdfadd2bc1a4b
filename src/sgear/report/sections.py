"""The report as one HTML file: words, tables and figures, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from sgear.datasets import Benchmark
from sgear.metrics import metrics
from sgear.predictions.scoring import field_outcomes
from sgear.report.classes import (
    MAX_CLASSES,
    MAX_NAMED_CLASSES,
    confusion_matrix,
    frequency_bands,
    part_confusion,
    recall_by_band,
    recall_by_class,
)
from sgear.report.curves import (
    CALIBRATION_READING,
    drawn_metrics,
    horizon_curve,
    learning_curves,
    reliability_diagram,
    reliability_tables,
    subset_bars,
    subset_sizes,
)
from sgear.report.page import Section, render
from sgear.report.prototype_figures import MAX_CELLS, MAX_DOTS, PrototypeSet, heat_maps, similarity_agreement
from sgear.report.runs import Reference, ReportRun, Video, aligned_runs, distinct_titles, evaluated_runs
from sgear.report.tables import (
    caveat_text,
    measured_on,
    protocol_text,
    provenance_table,
    score_table,
    skipped_parts,
)
from sgear.report.timeline import MAX_SEGMENTS, forecast_timeline, outcomes


def _curves(runs: Sequence[ReportRun]) -> Section | None:
    figure = learning_curves(runs)
    if figure is None:
        return None
    reading = (
        "Each loss term over optimiser steps; the faint line is every logged step, the strong one a moving average. "
        "Terms are shown before their weights."
    )
    return Section("Learning curves", reading, (("learning curves", figure),))


def _classes(runs: Sequence[ReportRun], benchmark: Benchmark) -> Section:
    counts = benchmark.train.action_counts()
    num_evaluated = len(set(runs[0].predictions.targets.tolist()))
    silent = benchmark.taxonomy.num_actions - num_evaluated
    form = (
        "One line per class, commonest in training at the top; a dot is the share of its segments for which the class "
        "is among the five best scores. Numbers of segments stand on the right."
        if num_evaluated <= MAX_NAMED_CLASSES
        else "One dot per class and run (slightly scattered so that dots do not hide each other), with the mean "
        "over classes of similar frequency: each point doubles the number of training segments. The bars below count "
        "the classes."
    )
    absent = f" {silent} classes without evaluated segments are not drawn." if silent else ""
    figure = recall_by_class(runs, benchmark.taxonomy.action_names, counts)
    return Section("Recall per class", form + absent, (("recall at 5 of each class", figure),))


def _bands(runs: Sequence[ReportRun], benchmark: Benchmark) -> Section:
    counts = benchmark.train.action_counts()
    names = ", ".join(band.name for band in frequency_bands(counts))
    reading = (
        f"Classes grouped at the terciles of their number of training segments ({names}); a bar is the mean recall@5 "
        "of the evaluated classes in the group. A model that only counts is good at the head alone."
    )
    figure = recall_by_band(runs, counts)
    return Section("Recall per frequency band", reading, (("recall at 5 per frequency band", figure),))


_SUBSET_MEANINGS = {
    "unseen": "participants who never occur in training",
    "tail": "classes that are rare in training",
    "many-shot": "classes that are frequent in training",
}


def _subsets(runs: Sequence[ReportRun], benchmark: Benchmark) -> Section:
    names = [
        f"{name} ({_SUBSET_MEANINGS[name]})" if name in _SUBSET_MEANINGS else name
        for name in subset_sizes(benchmark)
        if name != "overall"
    ]
    subsets = f" and over the subsets of the benchmark: {', '.join(names)}" if names else ""
    drawn = " and ".join(metrics()[metric].title for metric in drawn_metrics(benchmark))
    reading = (
        f"{drawn[0].upper()}{drawn[1:]} over all segments{subsets}. Below each name stands its number of segments. "
        "The thin line is the 95% bootstrap interval: where the score might have been, had other "
        "segments been recorded."
    )
    return Section("Verbs, nouns, actions", reading, (("scores overall and in subsets", subset_bars(runs, benchmark)),))


def _horizons(runs: Sequence[ReportRun], titles: Sequence[str]) -> Section | None:
    figure = horizon_curve(runs, titles)
    if figure is None:
        return None
    early = "; ".join(
        f"{title} predicts an action {run.horizons['time_to_action_s']:.2f} s before it starts"
        for run, title in zip(runs, titles, strict=True)
        if run.horizons is not None
    )
    reading = (
        "Scores of the actions by the time between the last frame seen and the action; a ring marks the time the run "
        f"was trained at. On average over segments, {early} (first time among the five best; 0 s if never)."
    )
    return Section("How far ahead", reading, (("scores by anticipation time", figure),))


def _confusion(run: ReportRun, title: str, benchmark: Benchmark) -> Section:
    taxonomy = benchmark.taxonomy
    figures = []
    for field in ("verb", "noun"):
        counts = part_confusion(run.predictions, field)
        figures.append((f"confusion of {field}s", confusion_matrix(counts, taxonomy.names(field), part=field)))
    most = max(len(taxonomy.verbs), len(taxonomy.nouns))
    only = f" The {MAX_CLASSES} commonest true classes are shown." if most > MAX_CLASSES else ""
    reading = (
        f"Verbs first, then nouns, of {title}: each row is a true class and says in percent what the model held for "
        f"most likely. A good model is dark on the diagonal.{only}"
    )
    return Section("Confusion of verbs and of nouns", reading, tuple(figures))


def _prototypes(run: ReportRun, title: str, benchmark: Benchmark) -> list[Section]:
    names = benchmark.taxonomy.action_names
    given = {"language": run.language, "visual": run.visual}
    sets = [PrototypeSet(title=kind, source="", vectors=each) for kind, each in given.items() if each is not None]
    if not sets:
        return []
    blocks = f" Neighbors are averaged to {MAX_CELLS} blocks." if len(names) > MAX_CELLS else ""
    reading = (
        f"Cosine between the {' and '.join(each.title for each in sets)} prototypes of every two actions in {title}, "
        "similar actions next to each other; dark blocks are families of actions. Each matrix has its own scale."
        f"{blocks}"
    )
    sections = [Section("Prototype similarity", reading, (("cosines between prototypes", heat_maps(sets, names)),))]
    agreement = similarity_agreement(sets[0], sets[1], names) if len(sets) == 2 else None
    if agreement is not None:
        is_dotted = len(names) * (len(names) - 1) // 2 <= MAX_DOTS
        mark = "One dot" if is_dotted else "A count, darker for more, of dots, one"
        named = " The most similar pair of each kind is named." if is_dotted else ""
        reading = (
            f"{mark} per pair of actions: if what is similar in words is similar in what the model sees, the dots "
            f"rise to the right.{named}"
        )
        figures = (("language against visual cosine", agreement),)
        sections.append(Section("Do words and images agree?", reading, figures))
    return sections


def _timeline(video: Video, title: str) -> Section:
    judged = outcomes(video)
    num_asked = sum(outcome.rank is not None for outcome in judged)
    num_first = sum(outcome.rank == 1 for outcome in judged)
    only = f" The first {MAX_SEGMENTS} actions are drawn." if len(video.truth) > MAX_SEGMENTS else ""
    num_listed = sum(bool(outcome.rank) for outcome in judged)
    reading = (
        f"Video {video.video_id} by {title}: what happened, and below it the probability that had been given to each "
        "action for that moment, tau_a earlier; the stronger the colour, the likelier. A forecast holds until the "
        f"next one, and the outline is the truth. Of {num_asked} starts with a forecast, {num_first} were first in it "
        f"and {num_listed} were listed.{only}"
    )
    return Section("Forecast timeline", reading, (("forecasts through a video", forecast_timeline(video)),))


def render_report(
    runs: Sequence[ReportRun],
    references: Sequence[Reference],
    benchmark: Benchmark,
    *,
    video: Video | None = None,
) -> str:
    """Return a self-contained HTML page.

    Args:
        runs: Runs on the same segments under the same protocol; confusion, prototypes and video are of the last one.
        references: Rows beside the runs; the Bayes ceiling stands last.
        benchmark: Segments and vocabulary that the runs were evaluated on.
        video: A video with forecasts of the last run.

    Raises:
        ValueError: If there is no run.
        PredictionError: If the runs must not be compared, or do not belong to the benchmark.
    """
    aligned, benchmark = evaluated_runs(aligned_runs(runs, benchmark), benchmark)
    titles = distinct_titles(aligned)
    last, last_title = aligned[-1], titles[-1]
    curves, horizons = _curves(aligned), _horizons(aligned, titles)
    tables = reliability_tables([field_outcomes(run.predictions) for run in aligned])
    sections = [
        *([curves] if curves is not None else []),
        _subsets(aligned, benchmark),
        *([horizons] if horizons is not None else []),
        _classes(aligned, benchmark),
        _bands(aligned, benchmark),
        Section("Calibration", CALIBRATION_READING, (("reliability diagrams", reliability_diagram(tables, titles)),)),
        _confusion(last, last_title, benchmark),
        *_prototypes(last, last_title, benchmark),
        *([_timeline(video, last_title)] if video is not None and video.truth else []),
    ]
    subject = last_title if len(aligned) == 1 else f"{len(aligned)} runs side by side"
    return render(
        "report.html",
        kicker="sgear report",
        heading=f"{benchmark.name}: {subject}",
        stamp=protocol_text(last.predictions.protocol),
        caveat=caveat_text(aligned),
        skipped=skipped_parts(aligned),
        scores=score_table(aligned, references),
        measured_on=measured_on(aligned, benchmark),
        provenance=provenance_table(aligned),
        sections=sections,
    )
