"""A page, or an image, of one or two sets of prototypes of the same vocabulary."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from sgear.files import require_writable, write_whole
from sgear.prototypes.geometry import Neighbour, agreement, nearest_neighbours
from sgear.report.html import Section
from sgear.report.page import render_document
from sgear.report.palette import png_with_palette
from sgear.report.prototype_facts import PrototypeSet, fact_figure, fact_rows
from sgear.report.prototype_heat import HEAT_COLOURS, heat_maps
from sgear.report.prototype_views import (
    MAX_TABLE_ROWS,
    NUM_NEIGHBOURS,
    PrototypeMap,
    maps_of_sets,
    neighbour_figure,
)
from sgear.report.prototypes import MAX_CELLS, MAX_DOTS, similarity_agreement
from sgear.report.style import styled
from sgear.taxonomy import Taxonomy

_DPI = 160
_PAGE_CSS = """
.facts td { white-space: normal; overflow-wrap: anywhere; min-width: 130px; vertical-align: top; }
.neighbours td, .neighbours th { font-size: 12.5px; padding: 3px 8px; text-align: left; }
.neighbours td span { color: var(--muted); font-variant-numeric: tabular-nums; }
.neighbours tbody th { white-space: nowrap; }
.neighbours td { white-space: normal; min-width: 118px; }
"""


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
    tables = "".join(_neighbour_section(each, names) for each in sets)
    return render_document(
        kicker="sgear prototypes",
        heading=heading,
        stamp=f"{len(names)} actions, vocabulary {taxonomy.digest}",
        body="".join((_fact_table(sets, taxonomy), *(section.to_html() for section in sections), tables)),
        css=_PAGE_CSS,
    )


def _check(sets: Sequence[PrototypeSet], taxonomy: Taxonomy) -> None:
    if len(sets) not in (1, 2) or taxonomy.num_actions < 2:
        raise ValueError(f"a page shows one or two sets of at least two prototypes, got {len(sets)} sets")


def _agreement_figure(sets: Sequence[PrototypeSet], names: Sequence[str]) -> Figure | None:
    """Return cosines of one set against the other; None for a single set, or where an agreement has no meaning."""
    if len(sets) < 2 or agreement(sets[0].vectors, sets[1].vectors) is None:
        return None
    first, second = sets
    figure = similarity_agreement(first.vectors, second.vectors, names)
    assert figure is not None, "an agreement has at least three actions"
    figure.axes[0].set_xlabel(f"cosine of {first.title} prototypes")
    figure.axes[0].set_ylabel(f"cosine of {second.title} prototypes")
    return figure


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


def _fact_table(sets: Sequence[PrototypeSet], taxonomy: Taxonomy) -> str:
    rows = fact_rows(sets, taxonomy)
    head = "".join(f"<th>{escape(each.title)}</th>" for each in sets)
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>"
        for name, texts in rows
    )
    return (
        f"<section><table class='facts'><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></section>"
    )


def _neighbour_section(each: PrototypeSet, names: Sequence[str]) -> str:
    ranked = nearest_neighbours(each.vectors, k=NUM_NEIGHBOURS)
    order = sorted(range(len(names)), key=lambda action: names[action])
    rows = "".join(
        f"<tr><th>{escape(names[action])}</th>{''.join(_cell(near, names) for near in ranked[action])}</tr>"
        for action in order
    )
    table = f"<div class='scroll'><table class='neighbours'><tbody>{rows}</tbody></table></div>"
    if len(names) > MAX_TABLE_ROWS:
        table = f"<details><summary>Show all {len(names)} actions</summary>{table}</details>"
    title = f"Nearest neighbours, {each.title}"
    reading = "The most similar actions of each action, with their cosine."
    return f"<section><h2>{escape(title)}</h2><p class='reading'>{reading}</p>{table}</section>"


def _cell(near: Neighbour, names: Sequence[str]) -> str:
    return f"<td>{escape(names[near.action_id])} <span>{near.cosine:.2f}</span></td>"


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
    # A palette of the image's own would give cells of the heat map colours that their scale does not have.
    return png_with_palette(sheet, HEAT_COLOURS)


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
