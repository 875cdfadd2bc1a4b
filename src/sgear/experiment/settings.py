"""The reference of all settings, from the docstrings of their dataclasses."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import fields, is_dataclass
from typing import Any

from sgear.experiment.effects import flatten
from sgear.experiment.schema import ExperimentConfig
from sgear.experiment.unread import value_text

_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_WIDTH = 110


def settings_text(config: ExperimentConfig) -> str:
    """Return every setting with its value, its default where that differs, and its meaning.

    Args:
        config: The values.
    """
    ours, defaults = flatten(config), flatten(ExperimentConfig())
    entries = []
    for key, meaning in meanings().items():
        default = "" if ours[key] == defaults[key] else f"  (default {value_text(defaults[key])})"
        text = textwrap.fill(meaning, _WIDTH, initial_indent="    ", subsequent_indent="    ")
        entries.append(f"{key}={value_text(ours[key])}{default}\n{text}")
    return "\n".join(entries)


def meanings() -> dict[str, str]:
    """Return what each setting means, by its dotted key."""
    return _meanings_of(ExperimentConfig(), "")


def _meanings_of(part: Any, prefix: str) -> dict[str, str]:
    documented = {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(inspect.getdoc(type(part)) or "")}
    found: dict[str, str] = {}
    for item in fields(part):
        key, value = f"{prefix}{item.name}", getattr(part, item.name)
        if is_dataclass(value):
            found |= _meanings_of(value, f"{key}.")
        else:
            found[key] = documented.get(item.name, "")
    return found
