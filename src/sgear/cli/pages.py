"""`--out` of commands that draw a page."""

from __future__ import annotations

from pathlib import Path

from sgear.errors import ConfigError
from sgear.files import require_writable

_ENDINGS = (".html", ".htm")


def require_page(out: Path) -> None:
    """Check that a page can be written to a file, before the work whose result it will show.

    Raises:
        ConfigError: If its name is not that of a page.
        WriteError: If it cannot be written there.
    """
    if out.suffix.lower() not in _ENDINGS:
        raise ConfigError(f"--out {out}: the page is written as HTML; give a name that ends in .html")
    require_writable(out)
