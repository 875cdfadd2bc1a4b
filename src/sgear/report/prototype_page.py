"""A page, or a picture, of one or two sets of prototypes of the same vocabulary."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from sgear.prototypes.geometry import Neighbour, agreement, nearest_neighbours
from sgear.report.html import Section
from sgear.report.page import render_document
from sgear.report.prototype_views import (
    MAX_TABLE_ROWS,
    NUM_NEIGHBOURS,
    PrototypeSet,
    fact_rows,
    heat_maps,
    map_of_set,
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


def _map_section(each: PrototypeSet, taxonomy: Taxonomy) -> Section:
    figure, note = map_of_set(each, taxonomy)
    reading = (
        f"Near dots are alike, and the colour is the verb. No plane can show it all: {note}. Distances between far "
        "groups mean little."
    )
    figures = ((f"map of the {each.title} prototypes", figure),)
    return Section(f"The {each.title} prototypes on a plane", reading, figures)


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
    blocks = f" Neighbours are averaged to {MAX_CELLS} blocks." if len(names) > MAX_CELLS else ""
    several = " Each panel has its own scale; both have the order of the first." if len(sets) > 1 else ""
    sections = [
        Section(
            "Which actions are alike",
            "Actions are ordered so that similar ones are neighbours: dark blocks on the diagonal are families, dark "
            f"spots off it are relations between families.{several}{blocks}",
            (("cosines of every two actions", heat_maps(sets, names)),),
        ),
        *_agreement_section(sets, names),
        *(_map_section(each, taxonomy) for each in sets),
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


def _agreement_section(sets: Sequence[PrototypeSet], names: Sequence[str]) -> list[Section]:
    if len(sets) < 2 or agreement(sets[0].vectors, sets[1].vectors) is None:
        return []
    first, second = sets
    figure = similarity_agreement(first.vectors, second.vectors, names)
    assert figure is not None, "an agreement has at least three actions"
    figure.axes[0].set_xlabel(f"cosine of {first.title} prototypes")
    figure.axes[0].set_ylabel(f"cosine of {second.title} prototypes")
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


def render_picture(sets: Sequence[PrototypeSet], taxonomy: Taxonomy) -> bytes:
    """Return a PNG with the heat maps, the planes and the nearest neighbours below each other.

    Raises:
        ValueError: If there are not one or two sets, or fewer than two actions.
    """
    _check(sets, taxonomy)
    names = taxonomy.action_names
    figures = [
        heat_maps(sets, names),
        *(map_of_set(each, taxonomy, title=f"{each.title} prototypes on a plane")[0] for each in sets),
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
    out = io.BytesIO()
    # 256 colours take a quarter of the space. Median cut would give none of them to the few coloured dots.
    palette = sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    palette.save(out, format="PNG", optimize=True)
    return out.getvalue()


def write_prototype_page(sets: Sequence[PrototypeSet], taxonomy: Taxonomy, out: Path, *, heading: str) -> None:
    """Write a page (`.html`) or a picture (`.png`), whole or not at all.

    Args:
        sets: One or two sets of prototypes.
        taxonomy: Their vocabulary.
        out: File to write; its ending chooses the form.
        heading: Title of the page.

    Raises:
        ValueError: If the ending is neither, there are not one or two sets, or fewer than two actions.
    """
    match out.suffix.lower():
        case ".html" | ".htm":
            content = render_page(sets, taxonomy, heading=heading).encode()
        case ".png":
            content = render_picture(sets, taxonomy)
        case other:
            raise ValueError(f"a page ends in .html and a picture in .png, got {other!r}")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    part.write_bytes(content)
    os.replace(part, out)
