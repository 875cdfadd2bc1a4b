"""What is wrong with a csv of own annotations: every problem with its line, column, value and remedy.

An `error` keeps the file from being imported. A `warning` lets it pass, but numbers may not mean what they seem to. A
`note` only says what will happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sgear.datasets.text_table import shown

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
_NUM_NAMED = 8


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or worth to know.

    Args:
        level: How bad it is.
        line: Line of the file, from 1; None where it is about the whole file.
        column: Column of the value; None where it is about the whole row or file.
        value: What stands there, in quotes where it is long or blank; None as above.
        text: What is wrong with it.
        remedy: What to do.
    """

    level: Level
    line: int | None
    column: str | None
    value: str | None
    text: str
    remedy: str

    def __str__(self) -> str:
        where = [f"line {self.line}"] if self.line is not None else []
        if self.column is not None:
            where.append(self.column if self.value is None else f"{self.column} {self.value}")
        return f"{', '.join(where)}: {self.text}. {self.remedy}." if where else f"{self.text}. {self.remedy}."


class ProblemList:
    """Collects problems; in the end sorted by level, then line."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self.num_errors = 0

    def error(self, line: int | None, column: str | None, value: str | None, text: str, remedy: str) -> None:
        """Add an error."""
        self.num_errors += 1
        self._problems.append(Problem("error", line, column, None if value is None else shown(value), text, remedy))

    def warning(self, line: int | None, column: str | None, text: str, remedy: str) -> None:
        """Add a warning."""
        self._problems.append(Problem("warning", line, column, None, text, remedy))

    def note(self, line: int | None, column: str | None, text: str, remedy: str) -> None:
        """Add a note."""
        self._problems.append(Problem("note", line, column, None, text, remedy))

    def sorted(self) -> tuple[Problem, ...]:
        """Return all problems, errors first, each level by line."""
        return tuple(
            sorted(self._problems, key=lambda each: (LEVELS.index(each.level), each.line is not None, each.line or 0))
        )


def named(names: Sequence[str]) -> str:
    """Return names for a message: the first few in quotes, and how many more there are."""
    rest = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return ", ".join(shown(name) for name in names[:_NUM_NAMED]) + rest
