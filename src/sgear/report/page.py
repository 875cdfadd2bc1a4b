"""The frame of every page: head, title, style sheet for a screen, a phone and paper; and the way to disk."""

from __future__ import annotations

from html import escape
from pathlib import Path

from sgear.files import write_whole

CSS = """
:root { --ink: #1d2329; --muted: #66717b; --rule: #d5dbe0; --faint: #f1f4f6; --accent: #1f5f8b; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.5 Charter, "Bitstream Charter", Cambria, Georgia,
  "Liberation Serif", serif; }
main { max-width: 960px; margin: 0 auto; padding: 40px 24px 72px; }
h1, h2, table, dl, figure, .kicker, .stamp { font-family: "Helvetica Neue", Helvetica, Arial, "Liberation Sans",
  "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 4px; font-weight: 650; }
header { border-bottom: 2px solid var(--ink); padding-bottom: 14px; }
.kicker { margin: 0 0 4px; font-size: 12px; letter-spacing: .08em; text-transform: uppercase; color: var(--muted); }
.stamp { margin: 0; font-size: 14px; color: var(--muted); }
.caveat { max-width: 44em; margin: 14px 0 0; padding: 10px 14px; border-left: 4px solid #c0392b; background: #fbeeec;
  font-size: 15px; }
section { margin-top: 38px; }
.reading { max-width: 44em; margin: 0 0 14px; }
.note { max-width: 60em; margin: 8px 0 0; font-size: 13.5px; color: var(--muted); }
.scroll, .single, .pair { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
.scores { width: 100%; }
th, td { padding: 5px 10px; text-align: right; font-weight: 400; white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; }
thead th, thead td { color: var(--muted); font-size: 12.5px; border-bottom: 1px solid var(--ink); }
thead tr:first-child > td { border-bottom: 0; }
thead .group { border-bottom: 1px solid var(--rule); padding-left: 26px; }
.first { padding-left: 26px; }
td:last-child, th:last-child { padding-right: 0; }
th.text, td.text { white-space: normal; overflow-wrap: anywhere; text-align: left; min-width: 20em; }
tbody tr + tr > * { border-top: 1px solid var(--faint); }
tbody .run th { font-weight: 650; }
tbody .reference > *, tbody .ceiling > * { color: var(--muted); }
tbody tr.reference + tr.run > *, tbody tr.run + tr.ceiling > *, tbody tr.reference + tr.ceiling > * {
  border-top-color: var(--rule); }
tbody { border-bottom: 1px solid var(--ink); }
summary { cursor: pointer; color: var(--accent); font: 14px "Helvetica Neue", Helvetica, Arial, sans-serif;
  margin: 8px 0; }
dl { margin: 8px 0 0; font-size: 14px; display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr));
  gap: 6px 28px; }
dl div { display: flex; gap: 10px; border-top: 1px solid var(--faint); padding-top: 5px; }
dt { color: var(--muted); flex: 0 0 88px; }
dd { margin: 0; overflow-wrap: anywhere; }
dl.small { font-size: 12.5px; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 3px 28px; }
table + dl, .scroll + dl { margin-top: 16px; }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: inherit !important; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 20px; }
@media (max-width: 640px) { main { padding: 24px 16px 48px; } h1 { font-size: 21px; }
  .single figure { min-width: 720px; } }
@media print {
  main { max-width: none; padding: 0; }
  section, figure, tr { break-inside: avoid; }
  h2, .reading { break-after: avoid; }
  .scroll, .single, .pair { overflow: visible; }
  .pair { grid-template-columns: 1fr 1fr; }
  body { font-size: 11pt; }
  @page { margin: 16mm; }
}
"""


def render_document(
    *, kicker: str, heading: str, stamp: str, body: str, caveat: str = "", banner: str = "", css: str = ""
) -> str:
    """Return a whole page.

    Args:
        kicker: Small line above the heading: which command made the page.
        heading: Title.
        stamp: Line below it: what the numbers were measured under.
        body: HTML of the sections; everything else is text.
        caveat: Warning that must not be overlooked.
        banner: HTML of what must be read before any number.
        css: Rules of this page alone.
    """
    warning = f"<p class='caveat'><b>Warning</b>: {escape(caveat)}.</p>" if caveat else ""
    return "".join(
        (
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width, initial-scale=1'>",
            f"<title>{escape(heading)}</title><style>{CSS}{css}</style></head><body><main>",
            f"<header><p class='kicker'>{escape(kicker)}</p><h1>{escape(heading)}</h1>",
            f"<p class='stamp'>{escape(stamp)}</p>{warning}{banner}</header>",
            body,
            "</main></body></html>\n",
        )
    )


def write_page(page: str, out: Path) -> None:
    """Write a page, whole or not at all.

    Raises:
        WriteError: If it cannot be written there.
    """
    write_whole(out, page.encode("utf-8"))
