"""The tables of the page: scores, protocol and samples, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from sgear.datasets import Benchmark
from sgear.metrics import metrics
from sgear.metrics.registry import percent
from sgear.predictions.caveats import caveats_of
from sgear.predictions.skipped import KEY
from sgear.report.contents import BAYES_CEILING, FREQUENCY_BASELINE, Reference, ReportRun, distinct_titles
from sgear.report.scores import SHARED, Column, ScoreRow, score_columns, score_rows, used_columns

_LONGEST_LINE = 40
_UNITS = {"tau_a_s": ("tau_a", "s"), "tau_o_s": ("tau_o", "s"), "fps": ("fps", "")}


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


def _best(rows: Sequence[ScoreRow]) -> dict[str, float]:
    """Return the best number of each column where several runs compete for it."""
    runs = [row.values for row in rows if row.kind == "run"]
    keys = {key for values in runs for key in values}
    return {key: max(values[key] for values in runs if key in values) for key in keys} if len(runs) > 1 else {}


def _score_cells(row: ScoreRow, columns: Sequence[Column], best: dict[str, float]) -> list[str]:
    cells = []
    for column in columns:
        value = row.values.get(column.key)
        is_best = row.kind == "run" and value is not None and value == best.get(column.key)
        cells.append(f"<b>{percent(value)}</b>" if is_best else percent(value))
    return cells


def _line(cells: Sequence[str], starts: Sequence[int]) -> str:
    """Return table cells; those at `starts` begin a group of columns."""
    return "".join(
        f"<td{' class=first' if position in starts else ''}>{cell}</td>" for position, cell in enumerate(cells)
    )


def _notes(references: Sequence[Reference], columns: Sequence[Column], *, has_shares: bool) -> str:
    notes = {reference.name: reference.note for reference in references}
    shown = {column.key for column in columns}
    if "unseen_recall5" in shown:
        notes["unseen"] = "actions of participants who do not occur in training"
    if "tail_recall5" in shown:
        notes["tail"] = "actions whose verb or noun is rare in training"
    if has_shares:
        notes["share of the way"] = f"0% is the {FREQUENCY_BASELINE}, 100% the {BAYES_CEILING}"
    return "".join(f"<p class='note'><b>{escape(name)}</b>: {escape(text)}.</p>" for name, text in notes.items())


def score_table(runs: Sequence[ReportRun], references: Sequence[Reference]) -> str:
    """Return the table of scores in percent; the best run of each column is bold where there are several."""
    rows = score_rows(runs, references)
    columns = used_columns(rows)
    has_shares = any(row.shares for row in rows)
    groups = [("action", [column for column in columns if column.key in metrics()])]
    groups.append(("class-mean recall@5 of", [column for column in columns if column.key not in metrics()]))
    if has_shares:
        groups.append(("share of the way", [column for column in score_columns() if column.key in SHARED]))
    groups = [(heading, members) for heading, members in groups if members]
    starts = [sum(len(members) for _, members in groups[:position]) for position in range(len(groups))]
    over = "".join(f"<th class='group' colspan={len(members)}>{heading}</th>" for heading, members in groups)
    headings = [column.heading for _, members in groups for column in members]
    under = _line([escape(text) for text in headings], starts)
    best = _best(rows)
    body = ""
    for row in rows:
        cells = _score_cells(row, columns, best)
        if has_shares:
            shares = [row.shares.get(key) for key in SHARED]
            cells += ["" if share is None else f"{percent(share, digits=0)}%" for share in shares]
        body += f"<tr class='{row.kind}'><th scope='row'>{escape(row.name)}</th>{_line(cells, starts)}</tr>"
    return (
        "<section><h2>Scores</h2><p class='reading'>Percent of the evaluated segments; recall@5 is the class-mean "
        "recall, in which every class has the same weight, however rare.</p><div class='scroll'>"
        f"<table class='scores'><thead><tr><td></td>{over}</tr><tr><th></th>{under}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{_notes(references, columns, has_shares=has_shares)}</section>"
    )


def facts(runs: Sequence[ReportRun], benchmark: Benchmark) -> str:
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
    samples = {
        title: f"evaluated {run.report['num_evaluated']} of {run.report['num_asked']} segments asked for, "
        f"{run.report['num_from_prior']} of them from the class prior" + _unreadable(run)
        for run, title in zip(runs, distinct_titles(runs), strict=True)
    }
    if len(set(samples.values())) == 1:
        counts["validation"] = next(iter(samples.values()))
    else:
        counts |= {f"validation, {title}": text for title, text in samples.items()}
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in counts.items())
    return f"<section><h2>Measured on</h2><dl>{items}</dl></section>"


def _unreadable(run: ReportRun) -> str:
    count = run.report.get("num_unreadable", 0)
    return f"; {count} more from it because they could not be read" if count else ""


def _without_skipped(value: Any) -> Any:
    """Return a provenance without the lists of skipped segments, which have a place of their own on a page."""
    if isinstance(value, dict):
        return {name: _without_skipped(part) for name, part in value.items() if name != KEY}
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


def _text_class(row: Sequence[str]) -> str:
    """Return the class of a column with sentences: they are broken over lines, or they would leave the page."""
    return " class=text" if max(map(len, row)) > _LONGEST_LINE else ""


def provenance_table(runs: Sequence[ReportRun]) -> str:
    """Return commit, seed, model and versions of each run; what all runs share is said once."""
    tables = [_flat(_without_skipped(run.provenance)) for run in runs]
    names = list(dict.fromkeys(name for table in tables for name in table))
    if not names:
        return ""
    values = {name: [table.get(name, "none") for table in tables] for name in names}
    if len(runs) == 1:
        shared, own = values, {}
    else:
        shared = {name: row for name, row in values.items() if len(set(row)) == 1}
        own = {name: row for name, row in values.items() if name not in shared}
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(row[0])}</dd></div>" for name, row in shared.items())
    table = ""
    if own:
        head = "".join(f"<th{_text_class(row)}>{escape(name)}</th>" for name, row in own.items())
        body = "".join(
            f"<tr><th scope='row'>{escape(title)}</th>"
            + "".join(f"<td{_text_class(row)}>{escape(row[position])}</td>" for row in own.values())
            + "</tr>"
            for position, title in enumerate(distinct_titles(runs))
        )
        table = f"<div class='scroll'><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    return f"<section><h2>Provenance</h2>{table}<dl class='small'>{items}</dl></section>"
