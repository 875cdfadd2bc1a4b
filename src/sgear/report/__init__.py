"""From runs to one HTML page: scores beside what is free and what is possible, and figures that say why."""

from sgear.report.collect import (
    ceiling_reference,
    collect_film,
    collect_run,
    film_of_predictions,
    frequency_reference,
    references_of,
)
from sgear.report.contents import (
    BAYES_CEILING,
    FREQUENCY_BASELINE,
    Film,
    Reference,
    ReportRun,
    aligned_runs,
    evaluated_runs,
)
from sgear.report.html import write_report
from sgear.report.scores import score_rows

__all__ = [
    "BAYES_CEILING",
    "FREQUENCY_BASELINE",
    "Film",
    "Reference",
    "ReportRun",
    "aligned_runs",
    "ceiling_reference",
    "collect_film",
    "collect_run",
    "evaluated_runs",
    "film_of_predictions",
    "frequency_reference",
    "references_of",
    "score_rows",
    "write_report",
]
