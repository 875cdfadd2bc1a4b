"""A page, or an image, of one or two sets of prototypes of the same vocabulary."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import KDTree

from sgear.files import require_writable, write_whole
from sgear.prototypes.geometry import Geometry, agreement, measure, nearest_neighbours
from sgear.report.page import Row, Section, render
from sgear.report.prototype_figures import (
    HEAT_COLOURS,
    MAX_CELLS,
    MAX_DOTS,
    PrototypeSet,
    heat_maps,
    similarity_agreement,
)
from sgear.report.prototype_map import kept_neighbours, plane_positions, prototype_map
from sgear.report.style import MUTED, RULE, WIDE_IN, shorten, styled
from sgear.taxonomy import Taxonomy

_DPI = 160
NUM_NEIGHBOURS = 5
MAX_TABLE_ROWS = 130
_HEAD_IN, _NAME_IN, _LINE_IN = 0.56, 2.1, 0.135
_FACT_CHARS, _NOTE_CHARS = 120, 150


@dataclass(frozen=True)
class PrototypeMap:
    """A set on a plane.

    Args:
        figure: The drawing.
        positions: Place of each action [A 2].
        note: What the drawing does not show.
    """

    figure: Figure
    positions: NDArray[np.float64]
    note: str


def maps_of_sets(sets: Sequence[PrototypeSet], taxonomy: Taxonomy) -> list[PrototypeMap]:
    """Return a map of each set; the second starts where the first one ended, so that both can be compared."""
    verbs = [taxonomy.verbs[verb] for verb in taxonomy.verb_of_action.tolist()]
    k = min(NUM_NEIGHBOURS, taxonomy.num_actions - 1)
    maps: list[PrototypeMap] = []
    for each in sets:
        matrix = each.cosines()
        positions = plane_positions(matrix, start=maps[0].positions if maps else None)
        kept = f"{100 * kept_neighbours(matrix, positions, k=k):.0f}% of the {k} nearest neighbours are kept"
        title = f"{each.title} prototypes on a plane: {kept}"
        figure, num_unnamed = prototype_map(positions, taxonomy.action_names, verbs, title=title)
        room = f", and {len(matrix) - num_unnamed:,} of {len(matrix):,} names have room"
        maps.append(PrototypeMap(figure, positions, kept + room if num_unnamed else kept))
    return maps


@styled()
def neighbour_figure(each: PrototypeSet, names: Sequence[str]) -> Figure:
    """Draw the table of nearest neighbours of up to 130 actions."""
    ranked = nearest_neighbours(each.vectors, k=NUM_NEIGHBOURS)
    order = sorted(range(len(names)), key=lambda action: names[action])[:MAX_TABLE_ROWS]
    row_in, head_in = 0.15, 0.35
    height_in = head_in + row_in * len(order)
    figure = Figure(figsize=(WIDE_IN, height_in))
    rest = f" (first {len(order)} of {len(names)} actions)" if len(order) < len(names) else ""
    title = f"{each.title}: nearest neighbours of each action{rest}"
    figure.text(0.005, 1 - 0.12 / height_in, title, fontsize=8, fontweight="bold", va="center")
    column = (1 - 0.19) / NUM_NEIGHBOURS
    for position, action in enumerate(order):
        y = 1 - (head_in + (position + 0.5) * row_in) / height_in
        figure.text(0.005, y, shorten(names[action], 28), fontsize=6.2, va="center", fontweight="bold")
        for rank, near in enumerate(ranked[action]):
            x = 0.19 + rank * column
            figure.text(x, y, f"{near.cosine:.2f}", fontsize=6.2, va="center", color=MUTED)
            figure.text(x + 0.027, y, shorten(names[near.action_id], 23), fontsize=6.2, va="center")
        below = y - row_in / 2 / height_in
        figure.add_artist(Line2D([0.005, 0.995], [below, below], color=RULE, lw=0.3))
    return figure


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


def _map_section(each: PrototypeSet, drawn: PrototypeMap) -> Section:
    reading = (
        f"Near dots are alike, and the colour is the verb. No plane can show it all: {drawn.note}. Distances between "
        "far groups mean little."
    )
    figures = ((f"map of the {each.title} prototypes", drawn.figure),)
    return Section(f"The {each.title} prototypes on a plane", reading, figures)


def _heat_reading(sets: Sequence[PrototypeSet], num_actions: int) -> str:
    blocks = f" Neighbours are averaged to {MAX_CELLS} blocks." if num_actions > MAX_CELLS else ""
    several = " Each panel has its own scale; both have the order of the first." if len(sets) > 1 else ""
    return (
        "Actions are ordered so that similar ones are neighbours: dark blocks on the diagonal are families, dark spots "
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
    _check(sets, taxonomy)
    names = taxonomy.action_names
    maps = maps_of_sets(sets, taxonomy)
    sections = [
        Section(
            "Which actions are alike",
            _heat_reading(sets, len(names)),
            (("cosines of every two actions", heat_maps(sets, names)),),
        ),
        *_agreement_section(sets, names),
        *(_map_section(each, drawn) for each, drawn in zip(sets, maps, strict=True)),
    ]
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
        neighbors=[_neighbours(each, names) for each in sets],
    )


def _check(sets: Sequence[PrototypeSet], taxonomy: Taxonomy) -> None:
    if len(sets) not in (1, 2) or taxonomy.num_actions < 2:
        raise ValueError(f"a page shows one or two sets of at least two prototypes, got {len(sets)} sets")


def _agreement_figure(sets: Sequence[PrototypeSet], names: Sequence[str]) -> Figure | None:
    """Return cosines of one set against the other; None for a single set, or where an agreement has no meaning."""
    if len(sets) < 2 or agreement(sets[0].vectors, sets[1].vectors) is None:
        return None
    return similarity_agreement(sets[0], sets[1], names)


def _agreement_section(sets: Sequence[PrototypeSet], names: Sequence[str]) -> list[Section]:
    figure = _agreement_figure(sets, names)
    if figure is None:
        return []
    is_dotted = len(names) * (len(names) - 1) // 2 <= MAX_DOTS
    mark = "One dot per pair of actions" if is_dotted else "Pairs of actions, darker where there are more of them"
    reading = (
        f"{mark}. Where both sets hold the same pairs for alike, they rise to the right and the rank correlation is "
        "near 1."
    )
    return [Section("Do the two sets agree?", reading, (("cosines of one set against the other", figure),))]


def _neighbours(each: PrototypeSet, names: Sequence[str]) -> dict[str, object]:
    ranked = nearest_neighbours(each.vectors, k=NUM_NEIGHBOURS)
    order = sorted(range(len(names)), key=lambda action: names[action])
    rows = [
        (names[action], [(names[near.action_id], f"{near.cosine:.2f}") for near in ranked[action]]) for action in order
    ]
    return {"title": each.title, "rows": rows, "is_long": len(names) > MAX_TABLE_ROWS}


def render_image(sets: Sequence[PrototypeSet], taxonomy: Taxonomy, *, heading: str) -> bytes:
    """Return a PNG with numbers, heat maps, agreement, planes and nearest neighbours below each other.

    Raises:
        ValueError: If there are not one or two sets, or fewer than two actions.
    """
    _check(sets, taxonomy)
    names, maps = taxonomy.action_names, maps_of_sets(sets, taxonomy)
    notes = [_heat_reading(sets, len(names))]
    notes += [f"Map of the {each.title} prototypes: {drawn.note}." for each, drawn in zip(sets, maps, strict=True)]
    agreeing = _agreement_figure(sets, names)
    figures = [
        fact_figure(sets, taxonomy, heading=heading, notes=notes),
        heat_maps(sets, names),
        *([agreeing] if agreeing is not None else []),
        *(drawn.figure for drawn in maps),
        *(neighbour_figure(each, names) for each in sets),
    ]
    strips = []
    for figure in figures:
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
    return small_png(sheet)


def small_png(sheet: Image.Image) -> bytes:
    """Return a PNG of 256 colors, a third of the size of one with all; cells of a heat map keep theirs exactly."""
    num_others = 256 - len(HEAT_COLOURS)
    others = sheet.quantize(num_others, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    drawn = np.array(others.getpalette(), dtype=np.uint8).reshape(-1, 3)[:num_others]
    palette = np.concatenate([HEAT_COLOURS, drawn])
    # Not by `quantize(palette=...)`, which looks up the nearest color at a few bits only.
    codes, where = np.unique(np.asarray(sheet, dtype=np.int64) @ (1 << 16, 1 << 8, 1), return_inverse=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    nearest = KDTree(palette.astype(np.float64)).query(colours.astype(np.float64))[1]
    image = Image.fromarray(np.asarray(nearest, dtype=np.uint8)[where].reshape(sheet.height, sheet.width))
    image.putpalette(palette.tobytes())
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
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
