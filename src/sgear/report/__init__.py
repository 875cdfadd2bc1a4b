"""From runs to one HTML page: scores beside what is free and what is possible, and figures that say why."""

from sgear.report.collect import (
    ceiling_reference,
    collect_run,
    collect_video,
    frequency_reference,
    references_of,
    video_of_predictions,
)
from sgear.report.contents import (
    BAYES_CEILING,
    FREQUENCY_BASELINE,
    Reference,
    ReportRun,
    Video,
    aligned_runs,
    evaluated_runs,
)
from sgear.report.sections import write_report
from sgear.report.tables import score_rows

__all__ = [
    "BAYES_CEILING",
    "FREQUENCY_BASELINE",
    "Video",
    "Reference",
    "ReportRun",
    "aligned_runs",
    "ceiling_reference",
    "collect_video",
    "collect_run",
    "evaluated_runs",
    "video_of_predictions",
    "frequency_reference",
    "references_of",
    "score_rows",
    "write_report",
]
