"""The banner of a page whose numbers are of no benchmark: what was skipped, split by split, and why."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sgear.predictions.skipped import Skipped, skipped_of, skipped_text
from sgear.report.contents import ReportRun, distinct_titles

_MAX_ROWS = 200
_MAX_OPEN_ROWS = 12

BANNER_CSS = """
.banner { margin: 18px 0 0; padding: 12px 16px; border: 2px solid #c0392b; background: #fbeeec; font-size: 15px;
  overflow-x: auto; }
.banner p { margin: 0 0 6px; }
.banner strong { color: #9c2b1f; }
.banner table { font-size: 13px; }
.banner th, .banner td { text-align: left; vertical-align: top; white-space: normal; overflow-wrap: anywhere; }
.banner td:first-child { white-space: nowrap; padding-left: 0; }
.banner td + td { min-width: 120px; }
.banner tbody { border-bottom: 0; }
.banner tbody tr + tr > * { border-top-color: #ecd2ce; }
"""


def _rows(skipped: Skipped) -> list[tuple[str, str, str]]:
    """Return split, segments and reason; segments with one reason share a row, as those of a missing video do."""
    rows = []
    for split, reasons in skipped.items():
        uids_of: dict[str, list[str]] = {}
        for uid, reason in reasons.items():
            uids_of.setdefault(reason, []).append(uid)
        rows += [(split, ", ".join(uids), reason) for reason, uids in uids_of.items()]
    return rows


def _block(skipped: Skipped, title: str) -> str:
    text = skipped_text(skipped)
    rows = _rows(skipped)
    body = "".join(
        f"<tr><td>{escape(split)}</td><td>{escape(uids)}</td><td>{escape(reason)}</td></tr>"
        for split, uids, reason in rows[:_MAX_ROWS]
    )
    more = f"<p>{len(rows) - _MAX_ROWS} more rows stand in report.json.</p>" if len(rows) > _MAX_ROWS else ""
    sentence = f"{title}: {text}" if title else text[0].upper() + text[1:]
    is_open = " open" if len(rows) <= _MAX_OPEN_ROWS else ""
    return (
        f"<p><strong>{escape(sentence)}.</strong> Skipped in training, a segment taught nothing; skipped in "
        f"evaluation, it has the class prior for its forecast.</p><details{is_open}><summary>Which, and why</summary>"
        "<table><thead><tr><th>split</th><th>segments</th><th>reason</th></tr></thead>"
        f"<tbody>{body}</tbody></table>{more}</details>"
    )


def skipped_banner(runs: Sequence[ReportRun]) -> str:
    """Return the banner as HTML; empty where every segment was read.

    Raises:
        PredictionError: If the list of a run is damaged.
    """
    titles = distinct_titles(runs) if len(runs) > 1 else [""]
    lists = [(skipped_of(run.predictions.provenance), title) for run, title in zip(runs, titles, strict=True)]
    blocks = "".join(_block(skipped, title) for skipped, title in lists if skipped)
    return f"<div class='banner' role='alert'>{blocks}</div>" if blocks else ""
