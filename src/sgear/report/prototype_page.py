"""A page, or an image, of one or two sets of prototypes of the same vocabulary."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from sgear.files import require_writable, write_whole
from sgear.prototypes.geometry import Geometry, agreement, measure, nearest_neighbors
from sgear.report.page import INK, MUTED, WIDE_IN, Row, Section, render, styled
from sgear.report.prototype_figures import (
    MAX_CELLS,
    MAX_DOTS,
    PrototypeSet,
    heat_maps,
    kept_neighbors,
    plane_positions,
    prototype_map,
    similarity_agreement,
)
from sgear.taxonomy import Taxonomy

_DPI = 160
NUM_NEIGHBORS = 5
MAX_TABLE_ROWS = 130
_HEAD_IN, _LINE_IN = 0.4, 0.135
_LINE_CHARS = 150


def maps_of_sets(sets: Sequence[PrototypeSet], taxonomy: Taxonomy) -> list[tuple[Figure, str]]:
    """Return a map of each set, and what it does not show; the second starts where the first one ended."""
    verbs = [taxonomy.verbs[verb] for verb in taxonomy.verb_of_action.tolist()]
    k = min(NUM_NEIGHBORS, taxonomy.num_actions - 1)
    maps: list[tuple[Figure, str]] = []
    start = None
    for each in sets:
        matrix = each.cosines()
        positions = plane_positions(matrix, start=start)
        start = positions if start is None else start
        note = f"{100 * kept_neighbors(matrix, positions, k=k):.0f}% of the {k} nearest neighbors are kept"
        title = f"{each.title} prototypes on a plane: {note}"
        figure, num_unnamed = prototype_map(positions, taxonomy.action_names, verbs, title=title)
        if num_unnamed:
            note += f", and {len(matrix) - num_unnamed:,} of {len(matrix):,} names have room"
        maps.append((figure, note))
    return maps


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
def text_figure(title: str, rows: Sequence[Sequence[str]], widths: Sequence[int], *, note: str = "") -> Figure:
    """Draw a table as text, each cell broken over lines of its column's width in characters."""
    cells = [[wrap(text, width) or [""] for text, width in zip(row, widths, strict=True)] for row in rows]
    below = wrap(note, _LINE_CHARS)
    num_lines = sum(max(map(len, row)) for row in cells) + len(below)
    height_in = _HEAD_IN + (num_lines + 1) * _LINE_IN
    figure = Figure(figsize=(WIDE_IN, height_in))
    lefts = 0.006 + 0.99 * np.cumsum([0, *widths[:-1]]) / sum(widths)

    def write(lines: Sequence[str], left: float, top_in: float, **style: Any) -> None:
        for number, line in enumerate(lines):
            figure.text(left, 1 - (top_in + number * _LINE_IN) / height_in, line, va="center", fontsize=6.2, **style)

    figure.text(lefts[0], 1 - 0.14 / height_in, title, va="center", fontsize=9, fontweight="bold")
    top_in = _HEAD_IN
    for row in cells:
        for left, lines in zip(lefts, row, strict=True):
            write(lines, left, top_in, color=INK if left > lefts[0] else MUTED)
        top_in += max(map(len, row)) * _LINE_IN
    write(below, lefts[0], top_in + 0.4 * _LINE_IN, color=MUTED)
    return figure


def _heat_reading(sets: Sequence[PrototypeSet], num_actions: int) -> str:
    blocks = f" Neighbors are averaged to {MAX_CELLS} blocks." if num_actions > MAX_CELLS else ""
    several = " Each panel has its own scale; both have the order of the first." if len(sets) > 1 else ""
    return (
        "Actions are ordered so that similar ones are neighbors: dark blocks on the diagonal are families, dark spots "
        f"off it are relations between families. Pointed ends of a scale mark values beyond it.{several}{blocks}"
    )


def render_page(sets: Sequence[PrototypeSet], taxonomy: Taxonomy, *, heading: str) -> str:
    """Return a self-contained HTML page of one set of prototypes, or of two of the same vocabulary.

    Args:
        sets: One or two sets.
        taxonomy: Their vocabulary.
        heading: Title of the page.

    Raises:
        ValueError: If there are not one or two sets, or fewer than two actions.
    """
    if len(sets) not in (1, 2) or taxonomy.num_actions < 2:
        raise ValueError(f"a page shows one or two sets of at least two prototypes, got {len(sets)} sets")
    names = taxonomy.action_names
    heat = (("cosines of every two actions", heat_maps(sets, names)),)
    sections = [Section("Which actions are alike", _heat_reading(sets, len(names)), heat)]
    agreeing = similarity_agreement(sets[0], sets[1], names) if len(sets) == 2 else None
    if agreeing is not None:
        is_dotted = len(names) * (len(names) - 1) // 2 <= MAX_DOTS
        mark = "One dot per pair of actions" if is_dotted else "Pairs of actions, darker where there are more of them"
        reading = (
            f"{mark}. Where both sets hold the same pairs for alike, they rise to the right and the rank correlation "
            "is near 1."
        )
        figures = (("cosines of one set against the other", agreeing),)
        sections.append(Section("Do the two sets agree?", reading, figures))
    for each, (figure, note) in zip(sets, maps_of_sets(sets, taxonomy), strict=True):
        reading = (
            f"Near dots are alike, and the color is the verb. No plane can show it all: {note}. Distances between far "
            "groups mean little."
        )
        figures = ((f"map of the {each.title} prototypes", figure),)
        sections.append(Section(f"The {each.title} prototypes on a plane", reading, figures))
    return render(
        "prototypes.html",
        kicker="sgear prototypes",
        heading=heading,
        stamp=f"{len(names)} actions, vocabulary {taxonomy.digest}",
        facts={
            "head": [each.title for each in sets],
            "rows": [Row(name, tuple(texts)) for name, texts in fact_rows(sets, taxonomy)],
        },
        sections=sections,
        neighbors=[_neighbors(each, names) for each in sets],
    )


def _neighbors(each: PrototypeSet, names: Sequence[str]) -> dict[str, object]:
    ranked = nearest_neighbors(each.vectors, k=NUM_NEIGHBORS)
    order = sorted(range(len(names)), key=lambda action: names[action])
    rows = [(names[action], [(names[near], f"{cosine:.2f}") for near, cosine in ranked[action]]) for action in order]
    return {"title": each.title, "rows": rows, "is_long": len(names) > MAX_TABLE_ROWS}


def render_image(sets: Sequence[PrototypeSet], taxonomy: Taxonomy, *, heading: str) -> bytes:
    """Return a PNG with numbers, heat maps, agreement, planes and nearest neighbors below each other.

    Neighbors are those of up to 130 actions.
    """
    names = taxonomy.action_names
    facts = [("", *(each.title for each in sets)), *((name, *texts) for name, texts in fact_rows(sets, taxonomy))]
    widths = [50, *[100 // len(sets)] * len(sets)]
    figures = [
        text_figure(heading, facts, widths, note=f"Vocabulary {taxonomy.digest}. {_heat_reading(sets, len(names))}"),
        heat_maps(sets, names),
        similarity_agreement(sets[0], sets[1], names) if len(sets) == 2 else None,
        *(figure for figure, _ in maps_of_sets(sets, taxonomy)),
    ]
    for each in sets:
        rows: list = _neighbors(each, names)["rows"][:MAX_TABLE_ROWS]  # type: ignore[index]
        title = f"{each.title}: nearest neighbors" + (f", first {len(rows)} actions" if len(rows) < len(names) else "")
        texts = [(name, *(f"{cosine} {near}" for near, cosine in ranked)) for name, ranked in rows]
        figures.append(text_figure(title, texts, [28] * len(texts[0])))
    strips = []
    for figure in filter(None, figures):
        buffer = io.BytesIO()
        with styled():
            figure.savefig(buffer, format="png", dpi=_DPI)
        strips.append(Image.open(buffer).convert("RGB"))
    gap = _DPI // 6
    sheet = Image.new("RGB", (strips[0].width, sum(strip.height + gap for strip in strips)), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height + gap
    out = io.BytesIO()
    sheet.save(out, format="PNG", optimize=True)
    return out.getvalue()


def write_prototype_page(sets: Sequence[PrototypeSet], taxonomy: Taxonomy, out: Path, *, heading: str) -> None:
    """Write a page (`.html`) or an image (`.png`), whole or not at all.

    Args:
        sets: One or two sets of prototypes.
        taxonomy: Their vocabulary.
        out: File to write; its ending chooses the form.
        heading: Title of the page.

    Raises:
        ValueError: If the ending is neither, there are not one or two sets, or fewer than two actions.
        WriteError: If the file cannot be written; nothing is drawn then.
    """
    require_writable(out)
    match out.suffix.lower():
        case ".html" | ".htm":
            content = render_page(sets, taxonomy, heading=heading).encode()
        case ".png":
            content = render_image(sets, taxonomy, heading=heading)
        case other:
            raise ValueError(f"a page ends in .html and an image in .png, got {other!r}")
    write_whole(out, content)
