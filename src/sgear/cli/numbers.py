"""Lists of numbers in one option: '2.5 0.5' or '2.5,0.5'."""

from __future__ import annotations

from sgear.errors import ConfigError


def parse_numbers(text: str, option: str) -> list[float] | None:
    """Return the numbers of an option; None for an empty one.

    Raises:
        ConfigError: If a word is no number.
    """
    try:
        return [float(word) for word in text.replace(",", " ").split()] or None
    except ValueError as err:
        raise ConfigError(f"{option} {text!r}: expected numbers such as '2.5 0.5'") from err


def parse_integers(text: str, option: str) -> list[int] | None:
    """Return the whole numbers of an option; None for an empty one.

    Raises:
        ConfigError: If a word is no whole number.
    """
    try:
        return [int(word) for word in text.replace(",", " ").split()] or None
    except ValueError as err:
        raise ConfigError(f"{option} {text!r}: expected whole numbers such as '1 3 4'") from err
