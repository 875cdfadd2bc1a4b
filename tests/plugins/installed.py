"""Packages of somebody else, made of the code of a page under docs/ and found by their entry points."""

import re
import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest

from sgear import plugins

DOCS = Path(__file__).resolve().parents[2] / "docs"
LONGEST = 60


def code_of(page: str) -> tuple[str, str]:
    """Return the Python code and the entry points of a page, which is short."""
    text = (DOCS / page).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    code, entry = re.findall(r"```(?:python|toml)\n(.*?)```", text, re.DOTALL)
    return code, entry


def install(folder: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the package of a page into a folder that Python then looks into; return its module."""
    code, entry = code_of(page)
    ((group, line),) = re.findall(r'\[project\.entry-points\."([\w.]+)"\]\n(.+)\n', entry)
    (module,) = re.findall(r'= "(\w+):', line)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
    path = folder / f"{module}.py"
    path.write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(plugins, "_loaded", set())
    monkeypatch.delitem(sys.modules, module, raising=False)
    invalidate_caches()
    return path
