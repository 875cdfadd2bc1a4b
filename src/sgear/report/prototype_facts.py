"""Sets of prototypes to look at, and their numbers as a table: on the terminal, in a page and in an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from sgear.prototypes.geometry import Geometry, agreement, cosine_relations, measure
from sgear.report.style import MUTED, WIDE_IN, styled
from sgear.taxonomy import Taxonomy

_HEAD_IN, _NAME_IN, _LINE_IN = 0.56, 2.1, 0.135
_FACT_CHARS, _NOTE_CHARS = 120, 150


@dataclass(frozen=True, kw_only=True)
class PrototypeSet:
    """One set of prototypes to look at.

    Args:
        title: What they are, in a few words, e.g. `language`.
        source: Where they come from.
        vectors: One per action [A D].
        num_filled: Number of prototypes without exemplars; None for language.
        learnt_from: Parts of data sets whose videos they were learnt from; empty for language.
    """

    title: str
    source: str
    vectors: Float[Tensor, "A D"]
    num_filled: int | None = None
    learnt_from: str = ""


def cosine_matrix(each: PrototypeSet) -> NDArray[np.float64]:
    """Return the cosine of each prototype to each other one [A A]."""
    return cosine_relations(each.vectors.detach().float().cpu()).numpy().astype(np.float64)


def fact_rows(sets: Sequence[PrototypeSet], taxonomy: Taxonomy) -> list[tuple[str, list[str]]]:
    """Return the numbers of each set as (name, one text per set) rows."""
    measured = [measure(each.vectors, taxonomy) for each in sets]

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    def row(name: str, text) -> tuple[str, list[str]]:
        return name, [text(geometry) for geometry in measured]

    rows = [
        ("source", [each.source for each in sets]),
        row("size", lambda g: f"{g.num_actions} x {g.width}"),
        row(
            "length, mean +- std (range)",
            lambda g: f"{g.norm_mean:.2f} +- {g.norm_std:.2f} ({g.norm_min:.2f} to {g.norm_max:.2f})",
        ),
        row("cosine of two actions, mean (range)", _cosine_text),
        row("... that share the verb", lambda g: number(g.cosine_same_verb)),
        row("... that share the noun", lambda g: number(g.cosine_same_noun)),
        row("... that share neither", lambda g: number(g.cosine_unrelated)),
    ]
    if any(each.learnt_from for each in sets):
        rows.insert(1, ("learnt from", [each.learnt_from or "-" for each in sets]))
    if any(each.num_filled is not None for each in sets):
        rows.append(("made from siblings", ["-" if each.num_filled is None else str(each.num_filled) for each in sets]))
    if len(sets) == 2:
        correlation = agreement(sets[0].vectors, sets[1].vectors)
        rows.append((f"rank correlation with {sets[0].title}", ["", number(correlation)]))
    return rows


def _cosine_text(geometry: Geometry) -> str:
    return f"{geometry.cosine_mean:.2f} ({geometry.cosine_min:.2f} to {geometry.cosine_max:.2f})"


@styled()
def fact_figure(sets: Sequence[PrototypeSet], taxonomy: Taxonomy, *, heading: str, notes: Sequence[str]) -> Figure:
    """Draw the table of numbers as text, with a heading above and notes below it.

    Args:
        sets: One or two sets.
        taxonomy: Their vocabulary.
        heading: Title of the image.
        notes: How to read it.
    """
    per_line = _FACT_CHARS // len(sets)
    rows = [("", [each.title for each in sets]), *fact_rows(sets, taxonomy)]
    wrapped = [(name, [wrap(text, per_line) or [""] for text in texts]) for name, texts in rows]
    below = [line for note in notes for line in wrap(note, _NOTE_CHARS)]
    num_lines = sum(max(map(len, texts)) for _, texts in wrapped) + len(below)
    height_in = _HEAD_IN + (num_lines + 1) * _LINE_IN
    figure = Figure(figsize=(WIDE_IN, height_in))

    def write(text: str, x_in: float, y_in: float, **style) -> None:
        figure.text(x_in / WIDE_IN, 1 - y_in / height_in, text, va="center", **style)

    write(heading, 0.05, 0.14, fontsize=11, fontweight="bold")
    write(f"{taxonomy.num_actions} actions, vocabulary {taxonomy.digest}", 0.05, 0.34, fontsize=7, color=MUTED)
    y_in = _HEAD_IN
    for position, (name, texts) in enumerate(wrapped):
        write(name, 0.05, y_in, fontsize=7, color=MUTED)
        for column, lines in enumerate(texts):
            for number, line in enumerate(lines):
                x_in = _NAME_IN + column * (WIDE_IN - _NAME_IN) / len(sets)
                weight = "normal" if position else "bold"
                write(line, x_in, y_in + number * _LINE_IN, fontsize=7, fontweight=weight)
        y_in += max(map(len, texts)) * _LINE_IN
    for number, line in enumerate(below):
        write(line, 0.05, y_in + (number + 0.4) * _LINE_IN, fontsize=7, color=MUTED)
    return figure
