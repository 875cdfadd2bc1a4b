"""Runs side by side on the terminal, between what is free and what is possible."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from sgear.cli.terminal import open_screen, say, warn
from sgear.metrics.registry import percent
from sgear.predictions.provenance import caveats_of, skipped_of, skipped_text
from sgear.report import (
    BAYES_CEILING,
    FREQUENCY_BASELINE,
    Reference,
    ReportRun,
    distinct_titles,
    protocol_text,
    score_rows,
    used_columns,
)

_STYLES = {"reference": "dim", "run": "bold", "ceiling": "dim"}


def print_comparison(
    runs: Sequence[ReportRun], references: Sequence[Reference], *, console: Console | None = None
) -> None:
    """Print the score table of a report, in percent.

    Args:
        runs: Runs that may be compared; see `sgear.report.aligned_runs`.
        references: Rows beside the runs.
        console: Where to print. Default: standard output.
    """
    console = open_screen() if console is None else console
    rows = score_rows(runs, references)
    columns = used_columns(rows)
    has_shares = any(row.shares for row in rows)
    last = runs[-1]
    table = Table(
        title=f"{last.report['benchmark']} ({protocol_text(last.predictions.protocol)})",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )
    table.add_column("", overflow="fold", ratio=1)
    for column in columns:
        table.add_column(column.heading, justify="right")
    if has_shares:
        table.add_column("share", justify="right")
    for row in rows:
        cells = [percent(row.values.get(column.key)) for column in columns]
        if has_shares:
            share = row.shares.get("recall5")
            cells.append("" if share is None else f"{percent(share, digits=0)}%")
        table.add_row(row.name, *cells, style=_STYLES[row.kind])
    console.print(table)
    note = "recall@5 is class-mean; verb, noun, unseen and tail columns are class-mean recall@5 as well"
    if has_shares:
        note += f"; share: of the way in recall@5 from {FREQUENCY_BASELINE} (0%) to {BAYES_CEILING} (100%)"
    say(note, style="dim", screen=console)
    provenances = [run.predictions.provenance for run in runs]
    warn(caveats_of(runs[-1].predictions.protocol, provenances), screen=console)
    for run, title in zip(runs, distinct_titles(runs), strict=True):
        if problem := skipped_text(skipped_of(run.predictions.provenance)):
            say(f"{title}: {problem}", style="bold red", screen=console)
