"""Csv files -> columns of text with line numbers, or one error that names file, line, column and remedy.

Annotation files are edited by hand and by spreadsheets. A byte order mark, CRLF line ends, quoted commas and blanks
around values are accepted; anything that would shift, drop or change a value is refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sgear.errors import AnnotationError
from sgear.files import require_regular_file

# [0-9], not \d: that also takes the digits of other scripts, which no cast understands.
_TIMESTAMP = r"^([0-9]{1,5}):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]{1,30}))?$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_INTEGER = r"^[0-9]{1,15}$"
_SHOWN_CHARACTERS = 60
_SEPARATORS = {";": "semicolons (;)", "\t": "tabs", "|": "bars (|)"}


@dataclass(frozen=True)
class TextTable:
    """Columns of a csv file as text.

    Args:
        path: The file.
        frame: One string column per csv column, blanks around values removed.
        lines: Line of the file at which each row ends [M], counted from 1.
    """

    path: Path
    frame: pl.DataFrame
    lines: pl.Series

    def __len__(self) -> int:
        return self.frame.height

    def refuse(self, is_wrong: pl.Expr, column: str, expected: str) -> None:
        """Raise for the first row that is wrong.

        Args:
            is_wrong: True for wrong rows; null counts as wrong.
            column: Column whose text is shown.
            expected: What should stand there.

        Raises:
            AnnotationError: If there is a wrong row.
        """
        bad = self.frame.with_columns(self.lines.alias("line")).filter(is_wrong.fill_null(value=True))
        if bad.height:
            row = bad.row(0, named=True)
            others = f"; {bad.height} such rows" if bad.height > 1 else ""
            raise AnnotationError(
                f"{self.path}, line {row['line']}: {column} is {shown(row[column])}, expected {expected}{others}. "
                "Correct the file."
            )

    def text(self, column: str) -> pl.Series:
        """Return a column in which no field is empty.

        Raises:
            AnnotationError: If one is.
        """
        self.refuse(pl.col(column) == "", column, "some text")
        return self.frame[column]

    def integers(self, column: str, *, low: int = 0, high: int | None = None) -> pl.Series:
        """Return whole numbers in `low..high`.

        Raises:
            AnnotationError: If a field is no whole number or out of range.
        """
        top = 10**15 if high is None else high
        value = pl.col(column).str.replace(r"^0+(\d)", "${1}").cast(pl.Int64, strict=False)
        is_right = pl.col(column).str.contains(_INTEGER) & value.is_between(low, top)
        reach = f"from {low}" if high is None else f"in {low}..{high}"
        self.refuse(~is_right, column, f"a whole number {reach}")
        return self.frame.select(value)[column]

    def numbers(self, column: str) -> pl.Series:
        """Return finite decimal numbers.

        Raises:
            AnnotationError: If a field is none.
        """
        value = pl.col(column).cast(pl.Float64, strict=False)
        self.refuse(~(pl.col(column).str.contains(_NUMBER) & value.is_finite()), column, "a finite number")
        return self.frame.select(value)[column]

    def timestamps(self, column: str) -> pl.Series:
        """Return seconds of times written as HH:MM:SS.ss.

        Raises:
            AnnotationError: If a field is none.
        """
        self.refuse(~pl.col(column).str.contains(_TIMESTAMP), column, "a time HH:MM:SS.ss")
        hours, minutes, seconds = (pl.col(column).str.extract(_TIMESTAMP, group).cast(pl.Int64) for group in (1, 2, 3))
        fraction = pl.col(column).str.extract(_TIMESTAMP, 4).fill_null("0")
        # The decimal text is cast as a whole: 00:01:01.60 shall be the float nearest to 61.6, not 60 + 1.6.
        text = (hours * 3600 + minutes * 60 + seconds).cast(pl.String) + "." + fraction
        return self.frame.select(text.cast(pl.Float64).alias(column))[column]


def shown(value: str) -> str:
    """Return a value in quotes for a message, shortened where it is long."""
    if len(value) <= _SHOWN_CHARACTERS:
        return repr(value)
    return f"{value[:_SHOWN_CHARACTERS]!r}... ({len(value)} characters)"


def read_text(path: Path, *, remedy: str) -> str:
    """Return the content of a UTF-8 file without its byte order mark, line ends as they are."""
    require_regular_file(path, AnnotationError, remedy)
    try:
        raw = path.read_bytes()
    except OSError as err:
        raise AnnotationError(f"{path}: cannot be read ({err.strerror}). {remedy}") from err
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise AnnotationError(f"{path}: the file is UTF-16, expected UTF-8. Save it as 'CSV UTF-8' or as UTF-8 text.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = raw.count(b"\n", 0, err.start) + 1
        raise AnnotationError(
            f"{path}, line {line}: byte {raw[err.start]:#04x} is not UTF-8. Save the file as UTF-8."
        ) from err
    zero = text.find("\0")
    if zero >= 0:
        line = text.count("\n", 0, zero) + 1
        raise AnnotationError(
            f"{path}, line {line}: a zero byte; the file is damaged, or UTF-16 without a mark. Save it as UTF-8."
        )
    if not text.strip():
        raise AnnotationError(f"{path}: the file is empty. {remedy}")
    return text


def read_lines(path: Path, *, remedy: str) -> list[tuple[int, str]]:
    """Return (line number, text without blanks around it) of each line of a text file that is not blank."""
    lines = re.split(r"\r\n|\r|\n", read_text(path, remedy=remedy))
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def parse_rows(text: str, path: Path) -> tuple[list[list[str]], list[int]]:
    """Return the fields of each row of a csv file, blanks around them removed, and the line each row ends at.

    Empty lines are left out, and so are the rows without any value that spreadsheets write. Rows may differ in length.

    Args:
        text: The content of the file.
        path: The file, for messages.
    """
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            values = [value.strip() for value in row]
            if any(values):
                rows.append(values)
                lines.append(reader.line_num)
    except csv.Error as err:
        raise AnnotationError(f"{path}, line {reader.line_num}: not csv ({err}). Correct the line.") from err
    if not rows:
        raise AnnotationError(f"{path}: no row holds a value. Get the file again.")
    return rows, lines


def wrong_separator(header: Sequence[str]) -> str | None:
    """Return what separates the columns instead of commas, in words; None where it is commas."""
    counts = {name: sum(field.count(mark) for field in header) for mark, name in _SEPARATORS.items()}
    name = max(counts, key=counts.__getitem__)
    return name if counts[name] >= len(header) else None


def read_csv(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    has_header: bool = True,
    remedy: str = "Check the path, or get the file again.",
) -> TextTable:
    """Read columns of a csv file.

    Args:
        path: The file, UTF-8, separated by commas.
        columns: Columns that must be there. Without a header: the names of all columns in their order.
        optional: Columns that are returned where the header has them.
        has_header: Whether the first line names the columns.
        remedy: What to do where the file is missing or empty.

    Raises:
        AnnotationError: If the file is missing, no UTF-8, damaged, lacks a column, repeats one, or has a row of
            another length than the header.
    """
    rows, lines = parse_rows(read_text(path, remedy=remedy), path)
    header = list(columns)
    if has_header:
        header = rows.pop(0)
        first_line = lines.pop(0)
        twice = sorted(name for name in {*columns, *optional} if header.count(name) > 1)
        missing = [name for name in columns if name not in header]
        if missing or twice:
            problem = f"columns {missing} are missing" if missing else f"columns {twice} occur twice"
            separator = wrong_separator(header) if missing else None
            advice = (
                f"They are separated by {separator}: save the file with commas" if separator else "Correct the header"
            )
            raise AnnotationError(f"{path}, line {first_line}: {problem}; found {shown(', '.join(header))}. {advice}.")
    names = ", ".join(header[:20])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise AnnotationError(
                f"{path}, line {line}: {len(row)} fields, expected {len(header)} ({names}). A comma inside "
                'a value needs double quotes around it: "a, b".'
            )
    wanted = [*columns, *(name for name in optional if name in header)] if has_header else header
    place = {name: header.index(name) for name in wanted}
    data = {name: [row[place[name]] for row in rows] for name in wanted}
    frame = pl.DataFrame(data, schema=dict.fromkeys(wanted, pl.String))
    return TextTable(path, frame, pl.Series("line", lines, dtype=pl.Int64))
