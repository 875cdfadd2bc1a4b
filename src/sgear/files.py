"""Files that appear whole or not at all, also for workers on several machines that share a folder."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

_PARTIAL = ".partial"


def partial_path(path: Path) -> Path:
    """Return a name beside `path` for a file that is being written; workers on two machines never share one."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_PARTIAL}")


def leftover_partials(path: Path) -> list[Path]:
    """Return the half-written files that stopped workers left beside `path`."""
    begin = f".{path.name}."
    if not path.parent.is_dir():
        return []
    names = [name for name in os.listdir(path.parent) if name.startswith(begin) and name.endswith(_PARTIAL)]
    return [path.parent / name for name in names if "." not in name[len(begin) : -len(_PARTIAL)]]


def create_exclusively(path: Path, text: str) -> None:
    """Make a file with a content at once.

    Raises:
        FileExistsError: If there is one; it is left as it is.
    """
    partial = partial_path(path)
    partial.write_text(text, encoding="utf-8")
    try:
        # Unlike a rename, a link never replaces what another worker made meanwhile.
        os.link(partial, path)
    finally:
        partial.unlink()


def replace_durably(partial: Path, path: Path) -> None:
    """Give a finished file its name, after its content has reached the disk."""
    for step in (partial, path.parent):
        descriptor = os.open(step, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if step == partial:
            partial.replace(path)
