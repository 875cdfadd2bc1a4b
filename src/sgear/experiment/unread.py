"""Settings that nothing reads: what to tell of them, all at once, and how to get rid of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

_UNQUOTED = re.compile(r"[\w/.:@%+?-]*", re.ASCII)
"""Texts that Hydra reads as they are."""


def with_defaults(values: Any, defaults: Any, keys: Collection[str], prefix: str = "") -> Any:
    """Return a configuration, or a part of one, in which some settings have their default.

    Args:
        values: The configuration.
        defaults: The same part of the defaults.
        keys: Dotted keys of the settings to reset.
        prefix: Dotted key of the part; empty for the whole.
    """
    changes = {}
    for item in fields(values):
        key = f"{prefix}.{item.name}" if prefix else item.name
        value, default = getattr(values, item.name), getattr(defaults, item.name)
        if is_dataclass(value):
            changes[item.name] = with_defaults(value, default, keys, key)
        elif key in keys:
            changes[item.name] = default
    return replace(values, **changes)


def value_text(value: Any) -> str:
    """Return the value of a setting as recipes write it, without quotes."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def hydra_override(key: str, value: Any) -> str:
    """Return a setting as Hydra reads it."""
    text = value_text(value)
    if not isinstance(value, list | tuple) and not _UNQUOTED.fullmatch(text):
        text = '"' + text.replace('"', '\\"') + '"'
    return f"{key}={text}"


def as_override(key: str, value: Any) -> str:
    """Return a setting as it is typed on a command line, with the quotes that Hydra and the shell need.

    Example:
        >>> as_override("source.flip", False), as_override("init.blocks", ["encoder"])
        ('source.flip=false', "'init.blocks=[encoder]'")
    """
    return shlex.quote(hydra_override(key, value))


def unread_message(
    unread: Mapping[str, str], ours: Mapping[str, Any], defaults: Mapping[str, Any], *, typed: Collection[str]
) -> str:
    """Return the error about settings that differ from their default although nothing reads them.

    Args:
        unread: Why nothing reads a setting, by its dotted key.
        ours: All settings.
        defaults: Their defaults.
        typed: Keys that stand in the command itself; a recipe has set the others.
    """
    resets = " ".join(as_override(key, defaults[key]) for key in unread)
    mine = [key for key in unread if key in typed]
    if len(unread) == 1:
        (key, reason), *_ = unread.items()
        remedy = "leave it out, or" if mine else "the recipe sets it;"
        return f"{key}={ours[key]} has no effect with {reason}; {remedy} reset it with {resets}"
    lines = [f"  {key}={ours[key]} with {reason}" for key, reason in unread.items()]
    left_out = f"; of these you typed {', '.join(mine)}: leave that out instead" if mine else ""
    return "\n".join([f"{len(unread)} settings have no effect:", *lines, f"reset them with: {resets}{left_out}"])
