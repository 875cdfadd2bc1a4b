"""From runs to one HTML page: scores beside what is free and what is possible, and figures that say why."""

from sgear.report.comparison import render_comparison
from sgear.report.runs import (
    BAYES_CEILING,
    FREQUENCY_BASELINE,
    Reference,
    ReportRun,
    Video,
    aligned_runs,
    collect_run,
    collect_video,
    distinct_titles,
    evaluated_runs,
    frequency_reference,
    references_of,
    video_of_predictions,
)
from sgear.report.sections import render_report
from sgear.report.tables import protocol_text, score_rows, used_columns

__all__ = [
    "BAYES_CEILING",
    "FREQUENCY_BASELINE",
    "Reference",
    "ReportRun",
    "Video",
    "aligned_runs",
    "collect_run",
    "collect_video",
    "distinct_titles",
    "evaluated_runs",
    "frequency_reference",
    "protocol_text",
    "references_of",
    "render_comparison",
    "render_report",
    "score_rows",
    "used_columns",
    "video_of_predictions",
]
