"""The tables of a page and of the terminal: scores, protocol and samples, provenance, what was skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sgear.datasets import Benchmark
from sgear.metrics import metrics
from sgear.metrics.registry import percent
from sgear.predictions.provenance import SKIPPED, Skipped, caveats_of, skipped_of, skipped_text
from sgear.report.runs import BAYES_CEILING, FREQUENCY_BASELINE, Reference, ReportRun, distinct_titles
from sgear.taxonomy import Field

_LONGEST_LINE = 40
_MAX_ROWS = 200
_MAX_OPEN_ROWS = 12
_UNITS = {"tau_a_s": ("tau_a", "s"), "tau_o_s": ("tau_o", "s"), "fps": ("fps", "")}


@dataclass(frozen=True)
class Column:
    """A number of the table: its name, here and in `Reference.scores`; where a run's scores have it; its heading."""

    key: str
    subset: str
    field: Field
    metric: str
    heading: str


_OTHER_COLUMNS = (
    Column("verb_recall5", "overall", "verb", "recall5", "verb"),
    Column("noun_recall5", "overall", "noun", "recall5", "noun"),
    Column("unseen_recall5", "unseen", "action", "recall5", "unseen"),
    Column("tail_recall5", "tail", "action", "recall5", "tail"),
)


def score_columns() -> tuple[Column, ...]:
    """Return all columns: the metrics of the actions, then the recall of parts and subsets."""
    shown = metrics(brief=True).items()
    return (*(Column(name, "overall", "action", name, metric.heading) for name, metric in shown), *_OTHER_COLUMNS)


SHARED = ("top1", "top5", "recall5")
"""The numbers that every reference has."""


@dataclass(frozen=True)
class ScoreRow:
    """One line of the table.

    Args:
        name: Title of the run or name of the reference.
        kind: `reference`, `run` or `ceiling`.
        values: Number of each column key in [0, 1]; a key is absent where the number does not exist.
        shares: For runs, share of the way from the frequency baseline to the ceiling, by the keys of `SHARED`; below
            0 for a run that is worse than counting, empty without both references.
    """

    name: str
    kind: Literal["reference", "run", "ceiling"]
    values: dict[str, float]
    shares: dict[str, float]


def score_rows(runs: Sequence[ReportRun], references: Sequence[Reference]) -> list[ScoreRow]:
    """Return the lines of the table: references, runs, and the ceiling last."""
    by_name = {reference.name: reference.scores for reference in references}
    low, high = by_name.get(FREQUENCY_BASELINE), by_name.get(BAYES_CEILING)

    def shares_of(values: dict[str, float]) -> dict[str, float]:
        if low is None or high is None:
            return {}
        return {key: (values[key] - low[key]) / (high[key] - low[key]) for key in SHARED if high[key] > low[key]}

    rows = [
        ScoreRow(reference.name, "reference", reference.scores, {})
        for reference in references
        if reference.name != BAYES_CEILING
    ]
    for run, title in zip(runs, distinct_titles(runs), strict=True):
        scores = run.report["scores"]
        values = {
            column.key: scores[column.subset][column.field][column.metric]
            for column in score_columns()
            if column.field in scores.get(column.subset, {})
        }
        rows.append(ScoreRow(title, "run", values, shares_of(values)))
    if high is not None:
        rows.append(ScoreRow(BAYES_CEILING, "ceiling", high, {}))
    return rows


def used_columns(rows: Sequence[ScoreRow]) -> list[Column]:
    """Return the columns in which some row has a number."""
    return [column for column in score_columns() if any(column.key in row.values for row in rows)]


def _protocol_items(protocol: dict[str, float | str]) -> dict[str, str]:
    items = {}
    for name, value in protocol.items():
        label, unit = _UNITS.get(name, (name, ""))
        items[label] = f"{value:g} {unit}".strip() if isinstance(value, int | float) else str(value)
    return items


def caveat_text(runs: Sequence[ReportRun]) -> str:
    """Return the warnings that belong to numbers of runs under one protocol; empty for most."""
    provenances = [each for run in runs for each in (run.provenance, run.predictions.provenance)]
    return ". ".join(caveats_of(runs[-1].predictions.protocol, provenances))


def protocol_text(protocol: dict[str, float | str]) -> str:
    """Return a protocol in one line, e.g. `anticipation, tau_a 1 s, tau_o 10 s, fps 1`."""
    items = _protocol_items(protocol)
    words = [items.pop("kind")]
    return ", ".join(words + [f"{name} {text}" for name, text in items.items()])


def score_table(runs: Sequence[ReportRun], references: Sequence[Reference]) -> dict[str, object]:
    """Return the table of scores in percent; the best run of each column is marked where there are several."""
    rows = score_rows(runs, references)
    columns = used_columns(rows)
    has_shares = any(row.shares for row in rows)
    groups = [
        ("action", [column for column in columns if column.key in metrics()]),
        ("class-mean recall@5 of", [column for column in columns if column.key not in metrics()]),
    ]
    groups = [(heading, members) for heading, members in groups if members]
    best: dict[str, float] = {}
    for row in rows:
        if row.kind == "run" and len(runs) > 1:
            best |= {key: max(value, best.get(key, value)) for key, value in row.values.items()}

    def number(row: ScoreRow, key: str) -> tuple[str, bool]:
        value = row.values.get(key)
        return percent(value), row.kind == "run" and value is not None and value == best.get(key)

    def share(row: ScoreRow, key: str) -> tuple[str, bool]:
        return (f"{percent(row.shares[key], digits=0)}%" if key in row.shares else ""), False

    shared = [column for column in score_columns() if column.key in SHARED] if has_shares else []
    lines = []
    for row in rows:
        # For each group of columns, the text of each number and whether it is the best.
        cells = [[number(row, column.key) for column in members] for _, members in groups]
        cells += [[share(row, each.key) for each in shared]] * has_shares
        lines.append({"name": row.name, "kind": row.kind, "groups": cells})
    headings = [*groups, *([("share of the way", shared)] if has_shares else [])]
    return {
        "groups": [(heading, [column.heading for column in members]) for heading, members in headings],
        "rows": lines,
        "notes": _notes(references, columns, has_shares=has_shares),
    }


def _notes(references: Sequence[Reference], columns: Sequence[Column], *, has_shares: bool) -> dict[str, str]:
    notes = {reference.name: reference.note for reference in references}
    shown = {column.key for column in columns}
    if "unseen_recall5" in shown:
        notes["unseen"] = "actions of participants who do not occur in training"
    if "tail_recall5" in shown:
        notes["tail"] = "actions whose verb or noun is rare in training"
    if has_shares:
        notes["share of the way"] = f"0% is the {FREQUENCY_BASELINE}, 100% the {BAYES_CEILING}"
    return notes


def measured_on(runs: Sequence[ReportRun], benchmark: Benchmark) -> dict[str, str]:
    """Return what the numbers were measured on: protocol, vocabulary, samples."""
    last = runs[-1]
    taxonomy = benchmark.taxonomy
    counts = {
        ("protocol" if name == "kind" else name): text
        for name, text in _protocol_items(last.predictions.protocol).items()
    }
    counts |= {
        "classes": f"{taxonomy.num_actions} actions, {len(taxonomy.verbs)} verbs, {len(taxonomy.nouns)} nouns",
        "vocabulary": taxonomy.digest,
        "training": f"{len(benchmark.train)} segments of {benchmark.train.num_videos} videos",
    }
    samples = {}
    for run, title in zip(runs, distinct_titles(runs), strict=True):
        num_unreadable = run.report.get("num_unreadable", 0)
        unreadable = f"; {num_unreadable} more from it because they could not be read" if num_unreadable else ""
        samples[title] = (
            f"evaluated {run.report['num_evaluated']} of {run.report['num_asked']} segments asked for, "
            f"{run.report['num_from_prior']} of them from the class prior{unreadable}"
        )
    if len(set(samples.values())) == 1:
        counts["validation"] = next(iter(samples.values()))
    else:
        counts |= {f"validation, {title}": text for title, text in samples.items()}
    return counts


def _without_skipped(value: Any) -> Any:
    """Return a provenance without the lists of skipped segments, which have a place of their own on a page."""
    if isinstance(value, dict):
        return {name: _without_skipped(part) for name, part in value.items() if name != SKIPPED}
    return [_without_skipped(part) for part in value] if isinstance(value, list) else value


def _flat(provenance: dict, prefix: str = "") -> dict[str, str]:
    """Return nested values under dotted names; package versions keep their own names."""
    flat: dict[str, str] = {}
    for name, value in provenance.items():
        if isinstance(value, dict):
            flat |= _flat(value, "" if name == "packages" else f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = "none" if value is None else str(value)
    return flat


def provenance_table(runs: Sequence[ReportRun]) -> dict[str, object]:
    """Return commit, seed, model and versions of each run; what all runs share is said once."""
    tables = [_flat(_without_skipped(run.provenance)) for run in runs]
    names = list(dict.fromkeys(name for table in tables for name in table))
    values = {name: [table.get(name, "none") for table in tables] for name in names}
    shared = {name: row[0] for name, row in values.items() if len(set(row)) == 1}
    own = {name: row for name, row in values.items() if name not in shared}
    # Columns with sentences are broken over lines, or they would leave the page.
    is_text = {name: max(map(len, row)) > _LONGEST_LINE for name, row in own.items()}
    titles = distinct_titles(runs)
    return {"shared": shared, "own": own, "is_text": is_text, "titles": titles} if names else {}


def _skipped_rows(skipped: Skipped) -> list[tuple[str, str, str]]:
    """Return split, segments and reason; segments with one reason share a row, as those of a missing video do."""
    rows = []
    for split, reasons in skipped.items():
        uids_of: dict[str, list[str]] = {}
        for uid, reason in reasons.items():
            uids_of.setdefault(reason, []).append(uid)
        rows += [(split, ", ".join(uids), reason) for reason, uids in uids_of.items()]
    return rows


def skipped_parts(runs: Sequence[ReportRun]) -> list[Mapping[str, object]]:
    """Return what must be read before any number: what was skipped, split by split, and why; empty for most.

    Raises:
        PredictionError: If the list of a run is damaged.
    """
    titles = distinct_titles(runs) if len(runs) > 1 else [""]
    parts: list[Mapping[str, object]] = []
    for run, title in zip(runs, titles, strict=True):
        skipped = skipped_of(run.predictions.provenance)
        if not skipped:
            continue
        text, rows = skipped_text(skipped), _skipped_rows(skipped)
        parts.append(
            {
                "sentence": f"{title}: {text}" if title else text[0].upper() + text[1:],
                "rows": rows[:_MAX_ROWS],
                "num_more": max(0, len(rows) - _MAX_ROWS),
                "is_short": len(rows) <= _MAX_OPEN_ROWS,
            }
        )
    return parts
